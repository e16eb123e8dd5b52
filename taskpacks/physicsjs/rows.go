package physicsjs

import (
	"encoding/json"
	"fmt"
	"math"

	"pytasks/taskpacks"
)

const (
	// maxRows bounds the rows held in memory; the result of so many short rows is about maxResult.
	maxRows = 8192

	// maxResult bounds the result, in bytes of JSON. 1 MiB is what a cluster takes for certain.
	maxResult = 1_000_000

	// places is how many decimal places are given.
	places = 1e6
)

// row is the state at one time.
type row struct {
	t       float64
	r, v, a vec3
	ke, pe  float64
}

func (w *row) finite() bool {
	sum := w.t + w.ke + w.pe // any NaN or infinity makes the sum one
	for i := range 3 {
		sum += w.r[i] + w.v[i]
	}
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// rows holds every stride-th row of a run; the stride doubles when there are too many.
type rows struct {
	list   []row
	stride int
}

// add takes the row of step n; steps come in order, from 0.
func (k *rows) add(n int, r row) {
	if k.stride == 0 {
		k.stride = 1
	}
	if n%k.stride != 0 {
		return
	}
	if len(k.list) == maxRows {
		k.thin()
		if n%k.stride != 0 {
			return
		}
	}
	k.list = append(k.list, r)
}

func (k *rows) thin() {
	half := k.list[:0]
	for i := 0; i < len(k.list); i += 2 {
		half = append(half, k.list[i])
	}
	k.list = half
	k.stride *= 2
}

// result ends the run with its last row and thins it until it is small enough. The JSON is written here, because
// encoding/json takes several times as long for so many numbers.
func (k *rows) result(last row) (json.RawMessage, error) {
	for {
		text, err := k.encode(last)
		if err != nil {
			return nil, taskpacks.Permanent(fmt.Errorf("write the result: %w", err))
		}
		if len(text) <= maxResult {
			return text, nil
		}
		k.thin()
	}
}

// encode writes the rows and the last one, column by column.
func (k *rows) encode(last row) ([]byte, error) {
	all := append(k.list[:len(k.list):len(k.list)], last)
	steps := all[:len(all)-1] // those that have an acceleration
	w := writer{buf: make([]byte, 0, 256*len(all))}
	still := func(*row) vec3 { return vec3{} }

	w.scalars("t", all, func(r *row) float64 { return r.t })
	w.vectors("r", all, func(r *row) vec3 { return r.r })
	w.vectors("v", all, func(r *row) vec3 { return r.v })
	w.vectors("a", steps, func(r *row) vec3 { return r.a })
	w.vectors("w", all, still)
	w.vectors("alpha", steps, still)
	for _, energy := range []struct {
		name string
		of   func(*row) float64
	}{
		{"ke", func(r *row) float64 { return r.ke }},
		{"pe", func(r *row) float64 { return r.pe }},
		{"me", func(r *row) float64 { return r.ke + r.pe }},
	} {
		w.scalars(energy.name, all, energy.of)
		unit := firstOf(all, energy.of)
		w.scalars("n"+energy.name, all, func(r *row) float64 { return energy.of(r) / unit })
	}
	if k.stride > 1 {
		w.name("every")
		w.buf = fmt.Append(w.buf, k.stride)
	}
	w.buf = append(w.buf, '}')
	return w.buf, w.err
}

// firstOf returns the first value that is not 0 as it is shown, or 1 if all are 0.
func firstOf(all []row, of func(*row) float64) float64 {
	for i := range all {
		if value := of(&all[i]); round(value) != 0 {
			return value
		}
	}
	return 1
}

// writer writes an object of columns; err is the first error.
type writer struct {
	buf []byte
	err error
}

func (w *writer) name(name string) {
	separator := byte(',')
	if len(w.buf) == 0 {
		separator = '{'
	}
	w.buf = append(w.buf, separator, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

func (w *writer) scalars(name string, list []row, of func(*row) float64) {
	w.column(name, len(list), func(i int) { w.number(of(&list[i])) })
}

func (w *writer) vectors(name string, list []row, of func(*row) vec3) {
	w.column(name, len(list), func(i int) {
		for axis, value := range of(&list[i]) {
			w.buf = append(w.buf, "[,,"[axis])
			w.number(value)
		}
		w.buf = append(w.buf, ']')
	})
}

func (w *writer) column(name string, length int, element func(i int)) {
	w.name(name)
	w.buf = append(w.buf, '[')
	for i := range length {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		element(i)
	}
	w.buf = append(w.buf, ']')
}

func (w *writer) number(f float64) {
	text, err := taskpacks.AppendFloat(w.buf, round(f))
	w.buf = text
	if w.err == nil {
		w.err = err
	}
}

// round rounds to the given places, halves to even, and makes -0 a 0. Numbers beyond 2^53 of those units have no places.
func round(f float64) float64 {
	if math.Abs(f) >= 1<<53/places {
		return f
	}
	return math.RoundToEven(f*places)/places + 0
}
