package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi"
)

// tasks is the queue and the records as the API sees them: writes go through the
// queue, reads are answered here if they can be and by the leader if they cannot.
type tasks struct {
	*fsm.Queue
	link  *link
	state *fsm.State
	blobs *blobs
	names *names
	// draining ends when the node stops taking requests; nobody is left waiting.
	draining context.Context
}

const (
	// freshFor is how long a read may ask the leader for news of an unfinished task.
	freshFor = 500 * time.Millisecond
	// askAgain is how long after a failed question the next one is put, if no other
	// leader is known sooner.
	askAgain = 100 * time.Millisecond
)

// Task returns the record of a task.
func (t *tasks) Task(ctx context.Context, id string, c httpapi.Consistency) (*fsm.Task, error) {
	if c == httpapi.Linearizable {
		if err := t.catchUp(ctx); err != nil {
			return nil, err
		}
		return t.state.Task(id)
	}
	task, err := t.state.Task(id)
	switch {
	case c == httpapi.Stale:
		return task, err
	case errors.Is(err, fsm.ErrNotFound):
		return t.ask(ctx, methodTask, id)
	case err != nil || task.Status.Final():
		return task, err
	case t.link.cluster.IsLeader():
		return t.link.withProgress(task), nil
	}
	// It may have come further than this node has heard; what is known here will
	// do if the leader does not answer.
	ctx, cancel := context.WithTimeout(ctx, freshFor)
	defer cancel()
	if fresh, err := t.askOnce(ctx, methodTask, id); err == nil {
		return fresh, nil
	}
	return task, nil
}

// ask has the leader tell of a task by one of its methods, or confirm that there is
// none. While there is no leader it waits for one.
func (t *tasks) ask(ctx context.Context, method, id string) (*fsm.Task, error) {
	for {
		changed := t.link.cluster.LeaderChanged()
		task, err := t.askOnce(ctx, method, id)
		if err == nil || errors.Is(err, fsm.ErrNotFound) {
			return task, err
		}
		select {
		case <-changed:
		case <-time.After(askAgain):
		case <-ctx.Done():
			return nil, fsm.ErrNoLeader
		}
	}
}

func (t *tasks) askOnce(ctx context.Context, method, id string) (*fsm.Task, error) {
	answer, err := t.link.cluster.CallLeader(ctx, method, []byte(id))
	if errors.Is(err, fsm.ErrNotFound) {
		return nil, fsm.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	task := new(fsm.Task)
	if err := task.UnmarshalVT(answer); err != nil {
		return nil, fmt.Errorf("decode task: %w", err)
	}
	return task, t.names.learn(ctx, task)
}

// catchUp waits until this node's state has everything that was committed before.
func (t *tasks) catchUp(ctx context.Context) error {
	for {
		changed := t.link.cluster.LeaderChanged()
		if index, err := t.link.cluster.ReadIndex(ctx); err == nil {
			return t.state.WaitApplied(ctx, index)
		}
		select {
		case <-changed:
		case <-time.After(askAgain):
		case <-ctx.Done():
			return fsm.ErrNoLeader
		}
	}
}

// Wait returns a task's record when it is final; when ctx ends or the node drains,
// the latest known one. This node's own state brings every end in time; the
// leader brings it sooner.
func (t *tasks) Wait(ctx context.Context, id string) (*fsm.Task, error) {
	if task, err := t.state.Task(id); err == nil && task.Status.Final() {
		return task, nil
	}
	waitCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.draining, cancel)()
	if t.link.cluster.IsLeader() {
		task, err := t.link.waitHere(waitCtx, id)
		if err == nil || errors.Is(err, fsm.ErrNotFound) {
			return task, err
		}
		return t.latest(ctx, id)
	}
	type answer struct {
		task *fsm.Task
		err  error
	}
	answers := make(chan answer, 2)
	go func() {
		task, err := t.state.WaitFinished(waitCtx, id)
		if err == nil {
			answers <- answer{task, nil}
		}
	}()
	go func() {
		task, err := t.ask(waitCtx, methodWait, id)
		if err == nil || errors.Is(err, fsm.ErrNotFound) {
			answers <- answer{task, err}
		}
	}()
	select {
	case a := <-answers:
		return a.task, a.err
	case <-waitCtx.Done():
		return t.latest(ctx, id)
	}
}

// latest returns what is known of a task after a wait that ctx may have ended.
func (t *tasks) latest(ctx context.Context, id string) (*fsm.Task, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return t.Task(ctx, id, httpapi.Default)
}

// List returns tasks as this node knows them.
func (t *tasks) List(ctx context.Context, f fsm.Filter, c httpapi.Consistency) (fsm.Page, error) {
	if c == httpapi.Linearizable {
		if err := t.catchUp(ctx); err != nil {
			return fsm.Page{}, err
		}
	}
	return t.state.List(f)
}

// NodeName returns the name of a node, "" for a number never given out.
func (t *tasks) NodeName(number uint32) string { return t.names.of(number) }

// Counts counts the tasks that this node knows.
func (t *tasks) Counts() fsm.Counts { return t.state.Counts() }
