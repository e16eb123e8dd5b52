package history

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// story is a history written by hand. Times are milliseconds.
type story struct {
	History
	journal []Entry
}

func (s *story) op(o Op, call, ret int) *Op {
	o.Call, o.Return = int64(call)*1e6, int64(ret)*1e6
	if o.Outcome == "" {
		o.Outcome = OK
	}
	s.Ops = append(s.Ops, o)
	return &s.Ops[len(s.Ops)-1]
}

// submit is a submit that is acknowledged.
func (s *story) submit(node string, call, ret int, tasks ...Task) *Op {
	for i := range tasks {
		tasks[i].Func = orElse(tasks[i].Func, workFunc)
	}
	kind := Submit
	if len(tasks) > 1 {
		kind = Batch
	}
	return s.op(Op{Kind: kind, Node: node, Tasks: tasks}, call, ret)
}

func (s *story) read(node, consistency string, call, ret int, id string, r Record) {
	s.op(Op{Client: 1, Kind: Read, Node: node, Consistency: consistency, Tasks: []Task{{ID: id}}, Record: &r}, call, ret)
}

func (s *story) cancel(node string, call, ret int, id string, outcome Outcome, code, final string) {
	s.op(Op{Client: 2, Kind: Cancel, Node: node, Outcome: outcome, Code: code, Final: final, Tasks: []Task{{ID: id}}}, call, ret)
}

// run is the code of an attempt; how "" leaves it without an end.
func (s *story) run(node string, from, to int, id string, attempt int, how string) {
	e := Entry{At: int64(from) * 1e6, Task: id, Attempt: attempt, Node: node}
	s.journal = append(s.journal, e)
	if how != "" {
		e.At, e.End = int64(to)*1e6, how
		s.journal = append(s.journal, e)
	}
}

func (s *story) down(node string, at int) {
	s.Events = append(s.Events, Event{At: int64(at) * 1e6, Kind: Down, Node: node})
}

// end reads a task at both nodes when all is over.
func (s *story) end(id string, r Record) {
	for _, node := range []string{"n1", "n2"} {
		s.read(node, Linearizable, 90_000, 90_001, id, r)
		s.read(node, Stale, 90_002, 90_003, id, r)
	}
}

// list lists tasks at both nodes when all is over.
func (s *story) list(listed ...Listed) {
	for _, node := range []string{"n1", "n2"} {
		s.op(Op{Kind: List, Node: node, Consistency: Linearizable, Listed: listed}, 95_000, 95_001)
	}
}

// Records as they are read.
func success(n, attempt int) Record {
	return Record{Status: "SUCCESS", Attempt: attempt, Node: "n1", Result: ResultOf(n), Sum: "s"}
}

func failure(reason string, attempt int, past ...Past) Record {
	return Record{Status: "FAILURE", Attempt: attempt, Node: "n1", Reason: reason, Past: past, Sum: "f"}
}

func revokedAt(attempt int) Record {
	return Record{Status: "REVOKED", Attempt: attempt, Reason: "cancelled", Sum: "r"}
}

func at(status string, attempt int) Record { return Record{Status: status, Attempt: attempt, Sum: "x"} }

// simple is task a, submitted, run and read in good order.
func (s *story) simple() {
	s.submit("n1", 0, 10, Task{ID: "a", N: 1})
	s.run("n1", 20, 30, "a", 1, EndOK)
	s.end("a", success(1, 1))
	s.list(Listed{"a", 1})
}

// tale is a story and what a check is to say of it.
type tale struct {
	name string
	tell func(*story)
	o    Options
	want string // part of the one violation, "" = nothing is wrong, to any check
}

func judge(t *testing.T, check func(*view, Options) []string, tales []tale) {
	for _, c := range tales {
		t.Run(c.name, func(t *testing.T) {
			s := new(story)
			c.tell(s)
			o := c.o
			o.Faults, o.MinRate = 1, -1
			o.MaxAttempts, o.SearchTime = 5, time.Minute
			bad := check(newView(&s.History, s.journal), o)
			all := Check(&s.History, s.journal, o).Violations
			switch {
			case c.want == "":
				if len(bad) > 0 || len(all) > 0 {
					t.Errorf("got %q and of all checks %q, want nothing", bad, all)
				}
			case len(bad) != 1 || !strings.Contains(bad[0], c.want):
				t.Errorf("got %q, want one violation with %q", bad, c.want)
			case !slices.Contains(all, bad[0]):
				t.Errorf("got %q by all checks, want %q among them", all, bad[0])
			}
		})
	}
}
