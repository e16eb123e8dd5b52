package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pytasks/taskpacks"
)

// The funcs of the pack.
const (
	workFunc = "chaos.main.work"
	deafFunc = "chaos.main.deaf"
)

// Pack returns the pack "chaos", whose funcs write to the journal when an attempt starts
// and when it ends.
func Pack(j Journal) taskpacks.Pack {
	c := chaos{j}
	return taskpacks.Pack{Name: "chaos", Version: "1.0", Funcs: []taskpacks.Func{
		taskpacks.Define(workFunc, c.work, taskpacks.Doc("Takes ms milliseconds. Fails in its first attempts, as many as fail says, -1 for all.")),
		taskpacks.Define(deafFunc, c.deaf, taskpacks.Doc("Takes ms milliseconds, whether or not it is told to stop.")),
	}}
}

// ResultOf returns the result of task n, as it stands in its record.
func ResultOf(n int) string { return fmt.Sprint(resultOf(n)) }

// resultOf gives every task another result, none of them a number of a task.
func resultOf(n int) int { return 1_000_000_007 + 3*n }

type chaos struct{ journal Journal }

type workArgs struct {
	N    int `json:"n"`
	Ms   int `json:"ms" default:"0"`
	Fail int `json:"fail" default:"0"`
}

var errAsked = errors.New("failed as asked")

func (c chaos) work(ctx context.Context, in workArgs) (int, error) {
	return c.run(ctx, in.N, func(attempt int) error {
		timer := time.NewTimer(time.Duration(in.Ms) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if in.Fail < 0 || attempt <= in.Fail {
			return errAsked
		}
		return nil
	})
}

type deafArgs struct {
	N  int `json:"n"`
	Ms int `json:"ms" default:"0"`
}

func (c chaos) deaf(ctx context.Context, in deafArgs) (int, error) {
	return c.run(ctx, in.N, func(int) error {
		time.Sleep(time.Duration(in.Ms) * time.Millisecond)
		return nil
	})
}

// run writes down an attempt around its code.
func (c chaos) run(ctx context.Context, n int, code func(attempt int) error) (int, error) {
	call, ok := taskpacks.CallFrom(ctx)
	if !ok {
		return 0, errors.New("this func is to be run by a node")
	}
	e := Entry{At: time.Now().UnixNano(), Task: call.ID, Attempt: call.Attempt, Node: call.Node, N: n}
	if err := c.journal.Write(e); err != nil {
		return 0, taskpacks.Permanent(err)
	}
	err := code(call.Attempt)
	switch {
	case err == nil:
		e.End = EndOK
	case errors.Is(err, errAsked):
		e.End = EndFailed
	default:
		e.End = EndStopped
	}
	e.At = time.Now().UnixNano()
	if err := c.journal.Write(e); err != nil {
		return 0, taskpacks.Permanent(err)
	}
	return resultOf(n), err
}
