package taskpacks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Run is the body of a func: from checked arguments, a JSON object, to a result in JSON.
type Run func(ctx context.Context, args json.RawMessage) (json.RawMessage, error)

// Func is a function that tasks may call: its signature, and how to run it. Define makes one of a Go function; runtimes for
// other languages use NewFunc.
type Func struct {
	Spec
	run Run
}

// NewFunc returns the func that run carries out. run receives the arguments as they were sent; Spec.Check has passed them
// where they came in, yet on another node and perhaps against another version of the spec.
func NewFunc(spec Spec, run Run) Func { return Func{Spec: spec, run: run} }

// Call runs the func and returns its result, a JSON text. A panic inside is returned as a *PanicError. Call does not watch
// ctx itself: it returns when the func does.
func (f *Func) Call(ctx context.Context, args json.RawMessage) (result json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = nil, newPanicError(v)
		}
	}()
	if f.run == nil {
		return nil, Permanent(fmt.Errorf("func %s has a signature only, no code", f.Name))
	}
	return f.run(ctx, args)
}

// Option sets how a func is to be run.
type Option func(*Spec)

// Protected makes callers show a token that allows the func.
func Protected() Option { return func(s *Spec) { s.Protected = true } }

// Timeout bounds one attempt; zero means the node's default.
func Timeout(d time.Duration) Option { return func(s *Spec) { s.Timeout = d } }

// MaxAttempts bounds how often a task is tried; zero means the default.
func MaxAttempts(n int) Option { return func(s *Spec) { s.MaxAttempts = n } }

// Doc says what the func does, for people.
func Doc(text string) Option { return func(s *Spec) { s.Doc = text } }

// Call is what a running func may know of the task that it runs for, and where what it
// tells of itself goes.
type Call struct {
	ID      string // of the task, the same in every attempt
	Attempt int    // 1 is the first
	Node    string // the name of the node it runs on

	Log      io.Writer                           // takes what the func prints; nil = nowhere
	Progress func(fraction float64, text string) // nil = nobody looks
}

type callKey struct{}

// WithCall returns a context that carries c.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom returns the call that ctx belongs to; false where the func is run outside a node, as in a unit test.
func CallFrom(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(Call)
	return c, ok
}

// Log returns where the task's log goes: lines that people read with `pytasks task logs`.
// Outside a node they are discarded.
func Log(ctx context.Context) io.Writer {
	if c, ok := CallFrom(ctx); ok && c.Log != nil {
		return c.Log
	}
	return io.Discard
}

// Progress tells how far the task is, a fraction from 0 to 1 and a short text. It costs
// little: only the newest is kept, and shown while the task runs.
func Progress(ctx context.Context, fraction float64, text string) {
	if c, ok := CallFrom(ctx); ok && c.Progress != nil {
		c.Progress(min(1, max(0, fraction)), text)
	}
}
