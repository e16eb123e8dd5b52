package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi"
)

const (
	// logWait is how long one call waits for more of a log.
	logWait = 10 * time.Second
	// logCall is how long a call about a log may take beside that.
	logCall = 2 * time.Second
	// logPause is how often a task whose log is followed is looked at while it does not run.
	logPause = 200 * time.Millisecond
)

// Log gives out what a task has printed; see httpapi.Tasks. While the task runs its node has the
// log, afterwards the record has.
func (t *tasks) Log(ctx context.Context, id string, follow bool, out func([]byte) error) error {
	shown := uint32(0) // the attempt whose log was given out as a whole
	for {
		task, err := t.Task(ctx, id, httpapi.Default)
		if err != nil {
			return err
		}
		running := task.Status == fsm.Status_STARTED
		switch {
		case running && shown != task.Attempt:
			whole, err := t.logOf(ctx, task, follow, out)
			if err != nil {
				return err
			}
			if whole {
				shown = task.Attempt
			}
		case !running && shown != task.Attempt && (task.Status.Final() || !follow):
			if len(task.Log) > 0 {
				err = out(task.Log)
			}
			return err
		}
		if !follow || task.Status.Final() {
			return nil
		}
		select {
		case <-time.After(logPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.draining.Done():
			return fsm.ErrNoLeader
		}
	}
}

// logOf gives out the log of the attempt that a task is in, as its node has it. whole says that
// it got to the end; it does not where the node is not reached or the attempt is over.
func (t *tasks) logOf(ctx context.Context, task *fsm.Task, follow bool, out func([]byte) error) (whole bool, err error) {
	node := t.state.Node(task.Place.GetNode())
	if node == nil {
		return false, nil
	}
	at, wait := int64(0), logWait
	if !follow {
		wait = 0
	}
	for {
		part, next, ended, err := t.logPart(ctx, node.Id, &logRequest{key: fsm.Key(task.Key), attempt: task.Attempt, at: at, wait: wait})
		if err != nil {
			return false, ctx.Err()
		}
		if at = next; len(part) > 0 {
			if err := out(part); err != nil {
				return false, err
			}
		}
		if ended || !follow {
			return ended, nil
		}
	}
}

// logRequest asks a node for a part of the log of an attempt that it runs.
type logRequest struct {
	key     fsm.Key
	attempt uint32
	at      int64         // position to go on from
	wait    time.Duration // for something to be there
}

const logRequestSize = 16 + 4 + 8 + 8

func (r *logRequest) encode() []byte {
	b := append(make([]byte, 0, logRequestSize), r.key[:]...)
	b = binary.BigEndian.AppendUint32(b, r.attempt)
	b = binary.BigEndian.AppendUint64(b, uint64(r.at))
	return binary.BigEndian.AppendUint64(b, uint64(r.wait))
}

func decodeLogRequest(b []byte) (*logRequest, error) {
	if len(b) != logRequestSize {
		return nil, fmt.Errorf("a request for a log of %d bytes, want %d", len(b), logRequestSize)
	}
	r := &logRequest{
		key: fsm.Key(b[:16]), attempt: binary.BigEndian.Uint32(b[16:]), at: int64(binary.BigEndian.Uint64(b[20:])),
		wait: time.Duration(binary.BigEndian.Uint64(b[28:])),
	}
	if r.at < 0 || r.wait < 0 || r.wait > logWait {
		return nil, fmt.Errorf("a request for a log from %d on, within %v", r.at, r.wait)
	}
	return r, nil
}

// logPart asks a node for a part of a log.
func (t *tasks) logPart(ctx context.Context, node string, r *logRequest) (part []byte, next int64, ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.wait+logCall)
	defer cancel()
	b, err := t.link.cluster.Call(ctx, node, methodLog, r.encode())
	if err != nil {
		return nil, 0, false, err
	}
	if len(b) < 9 {
		return nil, 0, false, fmt.Errorf("a part of a log of %d bytes", len(b))
	}
	return b[9:], int64(binary.BigEndian.Uint64(b)), b[8] == 1, nil
}

// logHere answers a logRequest: position after the part, 1 if the log ends there, the part.
func (l *link) logHere(ctx context.Context, body []byte) ([]byte, error) {
	r, err := decodeLogRequest(body)
	if err != nil {
		return nil, err
	}
	log := l.exec.logOf(r.key, r.attempt)
	if log == nil {
		return nil, fsm.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	part, next, ended := log.read(ctx, r.at)
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 9+len(part)), uint64(next))
	if ended {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return append(b, part...), nil
}
