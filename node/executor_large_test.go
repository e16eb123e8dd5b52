package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

// largeArgs returns a task whose arguments are a blob that some node has, or none yet.
func (s *stage) largeArgs(i byte, kind, args string, there bool) *fsm.Task {
	b, err := s.keep([]byte(args))
	if err != nil {
		s.t.Fatal(err)
	}
	if !there {
		s.rep.locked(func() { delete(s.blobs, string(b.Digest)) })
	}
	task := given(i, kind, 1)
	task.Args, task.ArgsBlob = nil, b
	return task
}

func TestExecutorLargeArgsAndResult(t *testing.T) {
	for name, size := range map[string]int{"at the limit": maxInline, "above it": maxInline + 1} {
		t.Run(name, func(t *testing.T) {
			play(t, 1, func(t *testing.T, s *stage) {
				args := strings.Repeat("1", size)
				s.assign(s.largeArgs(1, "echo", args, true))
				s.outcomes(1, 0)
				f := s.rep.finished[0]
				got := string(f.Result)
				if f.ResultBlob != nil {
					got = s.blobs[string(f.ResultBlob.Digest)]
				}
				if got != args || (f.ResultBlob != nil) != (size > maxInline) || f.ResultBlob != nil && len(f.Result) > 0 {
					t.Errorf("the outcome has %d bytes inline and the blob %v of %d", len(f.Result), f.ResultBlob, len(got))
				}
			})
		})
	}
}

// TestExecutorAwaitsArgs: an attempt waits for its arguments before its time begins, and without
// holding up others in other slots.
func TestExecutorAwaitsArgs(t *testing.T) {
	play(t, 2, func(t *testing.T, s *stage) {
		late := s.largeArgs(1, "waits", "{}", false)
		late.TimeoutMs = 5000
		s.assign(late)
		s.holds(1, 1)
		time.Sleep(20 * time.Second)
		s.overrun()
		s.outcomes(0, 0)
		s.hear(0)
		s.assign(given(2, "echo", 1))
		s.outcomes(1, 0)
		if _, err := s.keep([]byte("{}")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(loadAgain + 4*time.Second)
		s.outcomes(1, 0)
		if s.starts.Load() != 2 {
			t.Errorf("%d attempts were started, want 2", s.starts.Load())
		}
		time.Sleep(time.Second)
		s.outcomes(2, 0)
		if f := s.rep.finished[1]; f.Reason != fsm.ReasonTimeout || f.RunUs != (5*time.Second).Microseconds() {
			t.Errorf("got %v, want a timeout after 5 s", f)
		}
	})
}

// TestExecutorGivesUpArgs: an attempt whose arguments nobody gives is handed back, and so is one
// that waits for them when the node drains, or has lost its leader; one that was taken away is not.
func TestExecutorGivesUpArgs(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.assign(s.largeArgs(1, "echo", "{}", false))
		time.Sleep(loadPatience + time.Second)
		s.outcomes(0, 1)
		if r := s.rep.released[0]; r.Reason != fsm.ReasonNotStarted {
			t.Errorf("handed back as %v", r)
		}
		s.holds(0, 1)
	})
	for reason, stop := range map[string]func(s *stage){
		fsm.ReasonCutOff: func(s *stage) { s.abandon() },
		fsm.ReasonDrain: func(s *stage) {
			ended, cancel := context.WithCancel(s.t.Context())
			cancel()
			s.drain(ended)
		},
		"": func(s *stage) { s.becomes(s.attempts[fsm.Key{15: 1}].task, fsm.Status_REVOKED) },
	} {
		t.Run(reason, func(t *testing.T) {
			play(t, 1, func(t *testing.T, s *stage) {
				s.assign(s.largeArgs(1, "echo", "{}", false))
				stop(s)
				synctest.Wait()
				if reason == "" {
					s.outcomes(0, 0)
				} else if s.outcomes(0, 1); s.rep.released[0].Reason != reason {
					t.Errorf("handed back as %v", s.rep.released[0])
				}
				if busy, _ := s.counts(); busy != 0 || s.starts.Load() != 0 {
					t.Errorf("%d slots are busy, %d attempts were started", busy, s.starts.Load())
				}
				s.hear(0)
				s.assign(given(2, "echo", 1))
				if s.starts.Load() != 1 {
					t.Error("the slot is not free again")
				}
			})
		})
	}
}

// TestExecutorResultNotStored: a large result that does not fit the disk fails its attempt, which
// may be tried again.
func TestExecutorResultNotStored(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		task := s.largeArgs(1, "echo", strings.Repeat("1", maxInline+1), true)
		s.rep.locked(func() { s.full = errors.New("no space is left") })
		s.assign(task)
		s.outcomes(1, 0)
		f := s.rep.finished[0]
		if f.Error == nil || f.Permanent || !strings.Contains(f.Error.Message, "could not be stored on the disk of node n: no space is left") {
			t.Errorf("got %v", f)
		}
	})
}
