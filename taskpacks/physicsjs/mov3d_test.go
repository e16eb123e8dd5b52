package physicsjs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

// g is the acceleration of gravity at the origin, m/s2.
const g = gravitation * earthMass / (earthRadius * earthRadius)

type outcome struct {
	T                         []float64
	R, V, A, W, Alpha         [][3]float64
	Ke, Pe, Me, Nke, Npe, Nme []float64
	Every                     int
	text                      string
}

func run(t testing.TB, args string) outcome {
	t.Helper()
	text, err := Pack.Funcs[0].Call(t.Context(), json.RawMessage(args))
	if err != nil {
		t.Fatalf("mov3d(%s): %v", args, err)
	}
	out := outcome{text: string(text)}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("mov3d(%s): result %.200s: %v", args, text, err)
	}
	return out
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s = %v, want %v within %v", what, got, want, within)
	}
}

func TestSpec(t *testing.T) {
	var got []string
	for _, p := range Pack.Funcs[0].Params {
		got = append(got, p.Name+" "+p.Type.String())
	}
	want := "dt <class 'float'>, r0 <class 'list'>, v0 <class 'list'>, mass <class 'float'>, radius <class 'float'>, drag <class 'bool'>"
	if strings.Join(got, ", ") != want {
		t.Errorf("params %q, want %q", got, want)
	}
}

// TestParabola: Euler's steps under constant gravity add up to y0 + v t - g t (t-dt)/2. Over ten metres gravity changes by
// three millionths.
func TestParabola(t *testing.T) {
	const dt, x0, y0, vx, vy, vz, radius = 0.01, 1.0, 5.0, 3.0, 7.0, -2.0, 0.5
	out := run(t, `{"dt":0.01,"r0":[1,5,0],"v0":[3,7,-2.0],"mass":2,"radius":0.5,"drag":false}`)
	n := len(out.T)
	if n < 100 || len(out.R) != n || len(out.V) != n || len(out.A) != n-1 || len(out.W) != n || len(out.Alpha) != n-1 ||
		len(out.Ke) != n || len(out.Pe) != n || len(out.Me) != n || len(out.Nke) != n || len(out.Npe) != n || len(out.Nme) != n {
		t.Fatalf("the columns do not have %d rows each, one less in a and alpha", n)
	}
	for i, at := range out.T {
		near(t, "t", at, dt*float64(i), 1e-6)
		near(t, "x", out.R[i][0], x0+vx*at, 1e-4)
		near(t, "y", out.R[i][1], y0+vy*at-g*at*(at-dt)/2, 1e-4)
		near(t, "z", out.R[i][2], vz*at, 1e-4)
		near(t, "vy", out.V[i][1], vy-g*at, 1e-4)
		if below := out.R[i][1] < radius; below != (i == n-1) {
			t.Errorf("row %d of %d is below the ground: %v", i, n, below)
		}
		if i < n-1 {
			near(t, "ay", out.A[i][1], -g, 1e-4)
		}
		near(t, "pe", out.Pe[i], 2*g*(out.R[i][1]-radius), 1e-3)
		near(t, "me", out.Me[i], out.Ke[i]+out.Pe[i], 2e-6)
		near(t, "nme", out.Nme[i], out.Me[i]/out.Me[0], 2e-6)
		near(t, "nke", out.Nke[i], out.Ke[i]/out.Ke[0], 2e-6)
		if out.W[i] != [3]float64{} {
			t.Errorf("w = %v, want zero", out.W[i])
		}
	}
	near(t, "ke", out.Ke[0], 0.5*2*(vx*vx+vy*vy+vz*vz), 1e-6)
}

// TestEnergy: without drag the energy's drift comes from the steps alone, so half the step halves it.
func TestEnergy(t *testing.T) {
	drift := func(dt float64) float64 {
		out := run(t, fmt.Sprintf(`{"dt":%v,"r0":[0,100,0],"v0":[10,20,0],"mass":1,"radius":0,"drag":false}`, dt))
		last := len(out.Nme) - 2
		return (out.Me[last] - out.Me[0]) / out.T[last]
	}
	coarse, fine := drift(0.02), drift(0.01)
	// Each step adds m g2 dt2 / 2.
	near(t, "drift per second", coarse, g*g*0.02/2, 0.01*g*g*0.02/2)
	near(t, "drift at half the step", fine, coarse/2, 0.01*coarse)
}

// TestFarFromEarth drops a sphere from 1000 km, where gravity is a quarter weaker: the inverse square, not the parabola.
func TestFarFromEarth(t *testing.T) {
	out := run(t, `{"dt":0.5,"r0":[0,1000000,0],"v0":[0,0,0],"mass":1,"radius":0,"drag":false}`)
	distance := earthRadius + 1e6
	near(t, "a at the start", out.A[0][1], -gravitation*earthMass/(distance*distance), 1e-6)
	last := len(out.T) - 1
	want := math.Sqrt(2 * gravitation * earthMass * (1/earthRadius - 1/distance))
	near(t, "speed at the ground", -out.V[last][1], want, 0.005*want)
	near(t, "pe at the start", out.Pe[0], want*want/2, 1)
}

// TestTerminalSpeed: a light sphere falls until drag carries its weight.
func TestTerminalSpeed(t *testing.T) {
	const mass, radius = 0.1, 0.2
	out := run(t, `{"dt":0.01,"r0":[0,300,0],"v0":[4,0,-4],"mass":0.1,"radius":0.2,"drag":true}`)
	quadratic := 0.5 * airDensity * dragCoefficient * math.Pi * radius * radius
	linear := airViscosity * 2 * radius
	want := (-linear + math.Sqrt(linear*linear+4*quadratic*mass*g)) / (2 * quadratic)
	last := len(out.T) - 1
	near(t, "speed at the ground", -out.V[last][1], want, 1e-3)
	near(t, "sideways speed at the ground", math.Hypot(out.V[last][0], out.V[last][2]), 0, 1e-3)
	slowing := (linear + quadratic*math.Sqrt(32)) / mass
	near(t, "ax at the start", out.A[0][0], -slowing*4, 1e-5)
	near(t, "az at the start", out.A[0][2], slowing*4, 1e-5)
	for i := 1; i < len(out.Me); i++ {
		if out.Me[i] > out.Me[i-1] {
			t.Fatalf("energy grows with drag, from %v to %v at step %d", out.Me[i-1], out.Me[i], i)
		}
	}
}

func TestStarts(t *testing.T) {
	below := run(t, `{"dt":0.1,"r0":[0,-1,0],"v0":[0,0,0],"mass":1,"radius":0,"drag":false}`)
	if len(below.T) != 1 || !strings.Contains(below.text, `"a":[],`) || !strings.Contains(below.text, `"nke":[0.0],`) {
		t.Errorf("a start below the ground gives %s, want one row, no acceleration", below.text)
	}
	// At rest on the ground: the first kinetic energy is 0, so the second one is the unit.
	rest := run(t, `{"dt":0.1,"r0":[0,0.1,0],"v0":[0,0,0],"mass":1,"radius":0.1,"drag":true}`)
	if len(rest.T) != 3 || rest.Nke[0] != 0 || rest.Nke[1] != 1 || rest.Npe[0] != 0 || rest.Npe[2] != 1 {
		t.Errorf("a start at rest gives nke %v, npe %v; want 0 1 .., 0 0 1", rest.Nke, rest.Npe)
	}
	if strings.Contains(rest.text, "-0.0,") || strings.Contains(rest.text, "-0.0]") {
		t.Errorf("a zero has a sign: %s", rest.text)
	}
}

func TestLongRunIsThinned(t *testing.T) {
	const dt = 0.0001
	out := run(t, `{"dt":0.0001,"r0":[0,100,0],"v0":[0,30,0],"mass":1234.5678,"radius":0,"drag":false}`)
	n := len(out.T)
	if len(out.text) > maxResult || n < 1500 || out.Every < 2 {
		t.Fatalf("the result has %d bytes, %d rows, every %d; want at most %d bytes, some 2000 rows, thinned", len(out.text), n, out.Every, maxResult)
	}
	for i, at := range out.T[:n-1] {
		near(t, "t", at, dt*float64(i*out.Every), 1e-6)
		near(t, "y", out.R[i][1], 100+30*at-g*at*(at-dt)/2, 0.02)
	}
	if out.R[n-1][1] >= 0 || out.R[n-1][1] < -0.01 {
		t.Errorf("the last row is at y = %v, want the first one below the ground", out.R[n-1][1])
	}
}

func TestRefusals(t *testing.T) {
	throw := func(key, value string) string {
		args := map[string]string{"dt": "0.1", "r0": "[0,1,0]", "v0": "[0,0,0]", "mass": "1", "radius": "0.1", "drag": "false"}
		args[key] = value
		var members []string
		for k, v := range args {
			members = append(members, fmt.Sprintf("%q:%s", k, v))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	tests := []struct{ key, value, want string }{
		{"dt", "0", "dt must be above 0 s, not 0"},
		{"dt", "-0.1", "dt must be above 0 s, not -0.1"},
		{"mass", "0.0", "mass must be above 0 kg, not 0"},
		{"radius", "-1", "radius must be 0 m or more, not -1"},
		{"r0", "[1,2]", "r0 must be a list of three numbers"},
		{"v0", "[1,2,3,4]", "v0 must be a list of three numbers"},
		{"r0", `[1,"2",3]`, "the passed param r0 doesnt match the required type: <class 'list'>."},
		{"v0", "[0,20000,0]", "the sphere has not come down after 1000000 steps"},
		{"v0", "[0,1e200,0]", "the numbers grew past what a float holds"},
		{"dt", "1e-300", "the sphere has not come down"},
	}
	for _, tt := range tests {
		_, err := Pack.Funcs[0].Call(t.Context(), json.RawMessage(throw(tt.key, tt.value)))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !taskpacks.IsPermanent(err) {
			t.Errorf("%s = %s: %v, want a permanent %q", tt.key, tt.value, err, tt.want)
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	cause := errors.New("revoked")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := Pack.Funcs[0].Call(ctx, json.RawMessage(`{"dt":0.1,"r0":[0,1,0],"v0":[0,20000,0],"mass":1,"radius":0,"drag":false}`))
	if !errors.Is(err, cause) {
		t.Errorf("mov3d = %v, want %v", err, cause)
	}
}

func BenchmarkMov3d(b *testing.B) {
	args := json.RawMessage(`{"dt":0.01,"r0":[0,5,0],"v0":[3,7,0],"mass":2,"radius":0.5,"drag":true}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Pack.Funcs[0].Call(b.Context(), args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMillionSteps(b *testing.B) {
	args := json.RawMessage(`{"dt":0.1,"r0":[0,5,0],"v0":[3,20000,0],"mass":2,"radius":0.5,"drag":false}`)
	for b.Loop() {
		if _, err := Pack.Funcs[0].Call(b.Context(), args); err == nil {
			b.Fatal("came down")
		}
	}
}
