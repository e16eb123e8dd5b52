package history

import (
	"strings"
	"testing"
	"time"
)

func TestCheckOrder(t *testing.T) {
	gone := Record{Status: Absent}
	// told tells of a task that succeeded, and of something beside that.
	told := func(tell func(*story)) func(*story) {
		return func(s *story) {
			s.simple()
			tell(s)
		}
	}
	judge(t, checkOrder, []tale{
		{"a task on its way", told(func(s *story) {
			s.read("n2", Linearizable, 2, 4, "a", gone)
			s.read("n2", Linearizable, 5, 8, "a", at("PENDING", 0))
			s.read("n2", Linearizable, 9, 11, "a", at("STARTED", 1))
			s.read("n2", Linearizable, 11, 20, "a", at("STARTED", 1))
		}), Options{}, ""},
		{"absent after it was acknowledged", told(func(s *story) {
			s.read("n2", Linearizable, 11, 12, "a", gone)
		}), Options{}, "task a: no order of its operations explains them all"},
		{"absent after it was seen", told(func(s *story) {
			s.read("n2", Linearizable, 2, 4, "a", at("PENDING", 0))
			s.read("n1", Linearizable, 5, 8, "a", gone)
		}), Options{}, "no order"},
		{"absent while it was seen", told(func(s *story) {
			s.read("n2", Linearizable, 2, 6, "a", at("PENDING", 0))
			s.read("n1", Linearizable, 5, 8, "a", gone)
		}), Options{}, ""},
		{"an earlier attempt", told(func(s *story) {
			s.read("n2", Linearizable, 11, 12, "a", at("PENDING", 1))
			s.read("n1", Linearizable, 13, 14, "a", at("STARTED", 1))
		}), Options{}, "no order"},
		{"an earlier attempt, by a stale read", told(func(s *story) {
			s.read("n2", Linearizable, 11, 12, "a", at("STARTED", 1))
			s.read("n1", Stale, 13, 14, "a", at("PENDING", 0))
		}), Options{}, ""},
		{"behind a stale read", told(func(s *story) {
			s.read("n2", Stale, 11, 12, "a", at("STARTED", 1))
			s.read("n1", Linearizable, 13, 14, "a", at("PENDING", 0))
		}), Options{}, "no order"},
		{"back from its end", told(func(s *story) {
			s.read("n2", Linearizable, 31, 32, "a", success(1, 1))
			s.read("n1", Linearizable, 33, 34, "a", at("STARTED", 2))
		}), Options{}, "no order"},
		{"beyond its end, by a stale read", told(func(s *story) {
			s.read("n2", Linearizable, 31, 32, "a", success(1, 1))
			s.read("n1", Stale, 33, 34, "a", at("STARTED", 2))
		}), Options{}, "no order"},
		{"a refused submit took effect", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1}).Outcome = Refused
			s.read("n1", Linearizable, 20, 30, "a", at("PENDING", 0))
		}, Options{}, "no order"},
		{"an unknown submit took effect late", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1}).Outcome = Unknown
			s.read("n2", Linearizable, 20, 30, "a", gone)
			s.run("n1", 1000, 1010, "a", 1, EndOK)
			s.end("a", success(1, 1))
			s.list(Listed{"a", 1})
		}, Options{}, ""},
		{"a cancel that was acknowledged", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.cancel("n2", 20, 30, "a", OK, "", "REVOKED")
			s.read("n1", Stale, 31, 32, "a", at("PENDING", 2))
			s.end("a", revokedAt(2))
			s.list(Listed{"a", 1})
		}, Options{}, ""},
		{"a cancel without an effect", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.cancel("n2", 20, 30, "a", OK, "", "REVOKED")
			s.read("n1", Linearizable, 31, 32, "a", at("PENDING", 0))
		}, Options{}, "no order"},
		{"a cancel of nothing", told(func(s *story) {
			s.cancel("n2", 11, 12, "a", Refused, "not_found", "")
		}), Options{}, "no order"},
		{"a cancel of nothing yet", told(func(s *story) {
			s.cancel("n2", 9, 12, "a", Refused, "not_found", "")
		}), Options{}, ""},
		{"a cancel of what has ended", told(func(s *story) {
			s.cancel("n2", 40, 41, "a", Refused, "finished", "SUCCESS")
			s.read("n2", Linearizable, 42, 43, "a", at("STARTED", 1))
		}), Options{}, "no order"},
		{"revoked before the cancel", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.read("n2", Linearizable, 11, 12, "a", revokedAt(0))
			s.cancel("n2", 20, 30, "a", OK, "", "REVOKED")
		}, Options{}, "no order"},
		{"revoked by a cancel without an answer, late", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.cancel("n2", 11, 12, "a", Unknown, "io", "")
			s.read("n2", Linearizable, 13, 14, "a", at("PENDING", 0))
			s.end("a", revokedAt(0))
			s.list(Listed{"a", 1})
		}, Options{}, ""},
		{"a cancel without an answer, and without an effect", told(func(s *story) {
			s.cancel("n2", 11, 12, "a", Unknown, "io", "")
		}), Options{}, ""},
		{"waited for", func(s *story) {
			r := success(1, 1)
			op := s.submit("n1", 0, 40, Task{ID: "a", N: 1})
			op.Final, op.Record = "SUCCESS", &r
			s.run("n1", 20, 30, "a", 1, EndOK)
			s.end("a", r)
			s.list(Listed{"a", 1})
		}, Options{}, ""},
		{"an answer of the end before the end", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.submit("n1", 11, 20, Task{ID: "a", N: 1}).Final = "SUCCESS"
			s.read("n2", Linearizable, 21, 22, "a", at("STARTED", 1))
		}, Options{}, "not client 1's linearizable read at n2 (21ms to 22ms): STARTED, attempt 1"},
	})
}

// TestCheckOrderUndecided: what there was no time for is not taken for right.
func TestCheckOrderUndecided(t *testing.T) {
	s := new(story)
	s.simple()
	bad := checkOrder(newView(&s.History, s.journal), Options{SearchTime: -time.Second})
	if len(bad) != 1 || !strings.Contains(bad[0], "1 tasks was not decided") {
		t.Errorf("got %q, want that task a was not decided", bad)
	}
}
