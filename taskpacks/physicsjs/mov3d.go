package physicsjs

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"pytasks/taskpacks"
)

const (
	gravitation = 6.6743e-11 // G, m3/(kg s2)
	earthMass   = 5.972e24   // kg
	earthRadius = 6378.1e3   // m

	dragCoefficient = 0.5      // c of a sphere
	airDensity      = 1.184    // rho, kg/m3
	airViscosity    = 15.52e-6 // nu, m2/s

	// maxSteps bounds a run. At some 50 ns a step it ends within a fraction of a second.
	maxSteps = 1_000_000

	// askEvery is how many steps pass between two looks at the context.
	askEvery = 1024
)

// Pack holds the funcs of this pack.
var Pack = taskpacks.Pack{Name: "physicsjs", Version: "1.0", Funcs: []taskpacks.Func{
	taskpacks.Define("physicsjs.main.mov3d", mov3d, taskpacks.Doc("A sphere thrown over the Earth's surface, with or without drag.")),
}}

type throw struct {
	Dt     float64   `json:"dt"`
	R0     []float64 `json:"r0" text:"<class 'list'>"`
	V0     []float64 `json:"v0" text:"<class 'list'>"`
	Mass   float64   `json:"mass"`
	Radius float64   `json:"radius"`
	Drag   bool      `json:"drag"`
}

// validate returns the first problem as a sentence.
func (in *throw) validate() error {
	switch {
	case len(in.R0) != 3:
		return fmt.Errorf("r0 must be a list of three numbers, [x, y, z] in m, not of %d", len(in.R0))
	case len(in.V0) != 3:
		return fmt.Errorf("v0 must be a list of three numbers, [x, y, z] in m/s, not of %d", len(in.V0))
	case in.Dt <= 0:
		return fmt.Errorf("dt must be above 0 s, not %v", in.Dt)
	case in.Mass <= 0:
		return fmt.Errorf("mass must be above 0 kg, not %v", in.Mass)
	case in.Radius < 0:
		return fmt.Errorf("radius must be 0 m or more, not %v", in.Radius)
	}
	return nil
}

// mov3d takes explicit Euler steps: position and velocity move on with the velocity and acceleration of the step's start.
func mov3d(ctx context.Context, in throw) (json.RawMessage, error) {
	if err := in.validate(); err != nil {
		return nil, taskpacks.Permanent(err)
	}
	r, v := vec(in.R0), vec(in.V0)
	var kept rows
	for n := 0; ; n++ {
		if n%askEvery == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		ke, pe := in.energies(r, v)
		now := row{t: float64(n) * in.Dt, r: r, v: v, ke: ke, pe: pe}
		if !now.finite() {
			return nil, taskpacks.Permanent(fmt.Errorf("the numbers grew past what a float holds at step %d: use a smaller dt", n))
		}
		if r[1]-in.Radius < 0 {
			return kept.result(now)
		}
		if n == maxSteps {
			return nil, taskpacks.Permanent(fmt.Errorf("the sphere has not come down after %d steps (%v s): use a larger dt or a slower throw",
				maxSteps, now.t))
		}
		now.a = in.acceleration(r, v)
		kept.add(n, now)
		r, v = r.plus(v, in.Dt), v.plus(now.a, in.Dt)
	}
}

// acceleration is Newton's, of gravity and, if asked for, of drag.
func (in *throw) acceleration(r, v vec3) vec3 {
	fromCentre := vec3{r[0], r[1] + earthRadius, r[2]}
	distance := fromCentre.length()
	a := vec3{}.plus(fromCentre, -gravitation*earthMass/(distance*distance*distance))
	if in.Drag {
		diameter, section := 2*in.Radius, math.Pi*in.Radius*in.Radius
		slowing := airViscosity*diameter + 0.5*airDensity*dragCoefficient*section*v.length()
		a = a.plus(v, -slowing/in.Mass)
	}
	return a
}

// energies returns the kinetic energy and the potential energy of the sphere's lowest point over the ground at the origin.
// The difference of the two distances to the Earth's centre is taken as a fraction, for their subtraction would cost nine of
// sixteen digits.
func (in *throw) energies(r, v vec3) (ke, pe float64) {
	speed := v.length()
	height := r[1] - in.Radius
	distance := vec3{r[0], height + earthRadius, r[2]}.length()
	above := (r[0]*r[0] + r[2]*r[2] + height*(height+2*earthRadius)) / (distance + earthRadius)
	return 0.5 * in.Mass * speed * speed, gravitation * earthMass * in.Mass / earthRadius * above / distance
}

// vec3 is a vector in space: x, y (up), z.
type vec3 [3]float64

func vec(list []float64) vec3 { return vec3{list[0], list[1], list[2]} }

// plus returns a + scale b.
func (a vec3) plus(b vec3, scale float64) vec3 {
	return vec3{a[0] + scale*b[0], a[1] + scale*b[1], a[2] + scale*b[2]}
}

func (a vec3) length() float64 { return math.Sqrt(a[0]*a[0] + a[1]*a[1] + a[2]*a[2]) }
