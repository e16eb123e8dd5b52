// Package test is the pack to try a cluster with: small funcs that add, fail, wait and echo.
package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"pytasks/taskpacks"
)

// Pack holds the funcs of this pack.
var Pack = taskpacks.Pack{Name: "test", Version: "1.0", Funcs: []taskpacks.Func{
	taskpacks.Define("test.main.add", add, taskpacks.Doc("The sum x + y, exact at any size.")),
	taskpacks.Define("test.main.subtract", subtract, taskpacks.Doc("The difference x - y, exact at any size.")),
	taskpacks.Define("test.main.hypot", hypot, taskpacks.Doc("The length of the hypotenuse over the legs x and y.")),
	taskpacks.Define("test.main.myProtectedTask", add, taskpacks.Protected(), taskpacks.Doc("The sum x + y, for callers with a token only.")),
	taskpacks.Define("test.main.sleep", sleep, taskpacks.Doc("Waits that many seconds and returns them.")),
	taskpacks.Define("test.main.fail", fail, taskpacks.Doc("Fails with the message, in every attempt.")),
	taskpacks.Define("test.main.echo", echo, taskpacks.Doc("Returns the value as it was sent.")),
}}

type integers struct {
	X big.Int `json:"x"`
	Y big.Int `json:"y"`
}

func add(_ context.Context, in integers) (*big.Int, error) {
	return in.X.Add(&in.X, &in.Y), nil
}

func subtract(_ context.Context, in integers) (*big.Int, error) {
	return in.X.Sub(&in.X, &in.Y), nil
}

type legs struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

func hypot(_ context.Context, in legs) (float64, error) {
	return math.Hypot(in.X, in.Y), nil
}

type pause struct {
	Seconds float64 `json:"seconds"`
}

// longestSleep is what a time.Duration can hold, in whole seconds.
const longestSleep = float64(math.MaxInt64 / int64(time.Second))

func sleep(ctx context.Context, in pause) (float64, error) {
	if in.Seconds < 0 || in.Seconds > longestSleep {
		return 0, taskpacks.Permanent(fmt.Errorf("cannot sleep %v seconds: use 0 to %.0f", in.Seconds, longestSleep))
	}
	timer := time.NewTimer(time.Duration(in.Seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return in.Seconds, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

type complaint struct {
	Message string `json:"message"`
}

func fail(_ context.Context, in complaint) (any, error) {
	return nil, errors.New(in.Message)
}

type anything struct {
	Value json.RawMessage `json:"value"`
}

func echo(_ context.Context, in anything) (json.RawMessage, error) {
	return in.Value, nil
}
