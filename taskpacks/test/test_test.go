package test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/taskpacks"
)

func find(t testing.TB, name string) *taskpacks.Func {
	t.Helper()
	r, err := taskpacks.NewRegistry(Pack)
	if err != nil {
		t.Fatal(err)
	}
	fn, ok := r.Func(name)
	if !ok {
		t.Fatalf("no func %s", name)
	}
	return fn
}

func TestFuncs(t *testing.T) {
	const huge = "1606938044258990275541962092341162602522202993782792835301376" // 2^200
	tests := []struct {
		name, args, want string
	}{
		{"add", `{"x":1,"y":2}`, "3"},
		{"add", `{"x":9223372036854775807,"y":1}`, "9223372036854775808"},
		{"add", `{"x":` + huge + `,"y":-1}`, "1606938044258990275541962092341162602522202993782792835301375"},
		{"add", `{"x":-0,"y":0}`, "0"},
		{"add", `{"x":1.0,"y":2}`, "the passed param x doesnt match the required type: <class 'int'>."},
		{"add", `{"x":true,"y":2}`, "the passed param x doesnt match the required type: <class 'int'>."},
		{"subtract", `{"x":1,"y":` + huge + `}`, "-1606938044258990275541962092341162602522202993782792835301375"},
		{"hypot", `{"x":3,"y":4.0}`, "5.0"},
		{"hypot", `{"x":1,"y":1}`, "1.4142135623730951"},
		{"hypot", `{"x":1e308,"y":1.7e308}`, "the result cannot be written as JSON: +Inf is no JSON number"},
		{"myProtectedTask", `{"x":20,"y":22}`, "42"},
		{"fail", `{"message":"as asked"}`, "as asked"},
		{"echo", `{"value":{"b":1.00,"a":[1,1.0,null,9007199254740993]}}`, `{"b":1.00,"a":[1,1.0,null,9007199254740993]}`},
		{"sleep", `{"seconds":-1}`, "cannot sleep -1 seconds: use 0 to 9223372036"},
		{"sleep", `{"seconds":1e300}`, "cannot sleep 1e+300 seconds: use 0 to 9223372036"},
	}
	for _, tt := range tests {
		fn := find(t, "test.main."+tt.name)
		result, err := fn.Call(t.Context(), json.RawMessage(tt.args))
		got := string(result)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s(%s) = %s, want %s", tt.name, tt.args, got, tt.want)
		}
	}
}

func TestProtected(t *testing.T) {
	for _, fn := range Pack.Funcs {
		if want := strings.HasSuffix(fn.Name, "myProtectedTask"); fn.Protected != want {
			t.Errorf("%s is protected: %v, want %v", fn.Name, fn.Protected, want)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got, err := find(t, "test.main.sleep").Call(t.Context(), json.RawMessage(`{"seconds":90.5}`))
		if string(got) != "90.5" || err != nil || time.Since(start) != 90500*time.Millisecond {
			t.Errorf("sleep = %s, %v after %v; want 90.5 after 90.5s", got, err, time.Since(start))
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("revoked")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		start := time.Now()
		_, err := find(t, "test.main.sleep").Call(ctx, json.RawMessage(`{"seconds":3600}`))
		if !errors.Is(err, cause) || time.Since(start) != time.Second {
			t.Errorf("sleep ends with %v after %v, want %v after 1s", err, time.Since(start), cause)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	fn := find(b, "test.main.add")
	args := json.RawMessage(`{"x":1,"y":2}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fn.Call(b.Context(), args); err != nil {
			b.Fatal(err)
		}
	}
}
