package history

import (
	"testing"
	"time"
)

func TestCheckRuns(t *testing.T) {
	// runs tells of a task that ended as a success of the attempt, at n1.
	runs := func(attempt int, tell func(*story)) func(*story) {
		return func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			tell(s)
			s.end("a", success(1, attempt))
			s.list(Listed{"a", 1})
		}
	}
	overlap := runs(2, func(s *story) {
		s.run("n2", 20, 2000, "a", 1, EndStopped)
		s.run("n1", 1000, 1010, "a", 2, EndOK)
	})
	late := runs(2, func(s *story) {
		s.run("n1", 1000, 1010, "a", 2, EndOK)
		s.run("n2", 2000, 2010, "a", 1, EndStopped)
	})
	judge(t, checkRuns, []tale{
		{"one after another", runs(2, func(s *story) {
			s.run("n2", 20, 30, "a", 1, EndStopped)
			s.run("n1", 1000, 1010, "a", 2, EndOK)
		}), Options{}, ""},
		{"an attempt twice", runs(1, func(s *story) {
			s.run("n1", 20, 30, "a", 1, EndOK)
			s.run("n2", 40, 50, "a", 1, EndOK)
		}), Options{}, "task a ran an attempt twice"},
		{"too many attempts", runs(6, func(s *story) { s.run("n1", 20, 30, "a", 6, EndOK) }), Options{}, "at most 5 attempts"},
		{"an attempt after the last", runs(1, func(s *story) {
			s.run("n1", 20, 30, "a", 1, EndOK)
			s.run("n1", 40, 50, "a", 2, EndOK)
		}), Options{}, "task a ran after its end"},
		{"cancelled while pending, and run", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.cancel("n1", 20, 30, "a", OK, "", "REVOKED")
			s.run("n1", 40, 50, "a", 1, EndStopped)
			s.end("a", revokedAt(0))
		}, Options{}, "task a ran after its end"},
		{"two at once", overlap, Options{}, "task a ran twice at once"},
		{"two at once, by a broken lease", overlap, Options{LeaseFaults: true}, ""},
		{"again when its node was down", runs(2, func(s *story) {
			s.run("n2", 20, 0, "a", 1, "")
			s.run("n1", 900, 1010, "a", 2, EndOK)
			s.down("n2", 901) // as soon as the harness saw it
		}), Options{}, ""},
		{"again while its node was up", runs(2, func(s *story) {
			s.run("n2", 20, 0, "a", 1, "")
			s.run("n1", 900, 1010, "a", 2, EndOK)
			s.down("n2", 20_000)
		}), Options{}, "task a ran twice at once"},
		{"late", late, Options{}, "task a ran out of order"},
		{"late, by a broken lease", late, Options{LeaseFaults: true}, ""},
	})
}

func TestCheckCommitted(t *testing.T) {
	ended := func(r Record, tell func(*story)) func(*story) {
		return func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1, Fail: -1, MaxAttempts: 2})
			tell(s)
			s.end("a", r)
			s.list(Listed{"a", 1})
		}
	}
	failed := failure(reasonError, 2, Past{1, "n2", reasonError})
	judge(t, checkCommitted, []tale{
		{"both failed", ended(failed, func(s *story) {
			s.run("n2", 20, 30, "a", 1, EndFailed)
			s.run("n1", 40, 50, "a", 2, EndFailed)
		}), Options{}, ""},
		{"the first did not", ended(failed, func(s *story) {
			s.run("n2", 20, 30, "a", 1, EndStopped)
			s.run("n1", 40, 50, "a", 2, EndFailed)
		}), Options{}, `attempt 1 did not end with "failed" at n2`},
		{"the last was elsewhere", ended(failed, func(s *story) {
			s.run("n2", 20, 30, "a", 1, EndFailed)
			s.run("n2", 40, 50, "a", 2, EndFailed)
		}), Options{}, `attempt 2 did not end with "failed" at n1`},
		{"a success that did not end", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.run("n1", 20, 0, "a", 1, "")
			s.end("a", success(1, 1))
		}, Options{}, `attempt 1 did not end with "ok" at n1`},
		{"a success that never ran", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.end("a", success(1, 1))
		}, Options{}, `attempt 1 did not end with "ok" at n1`},
	})
}

func TestCheckStopped(t *testing.T) {
	o := Options{Grace: time.Second, LeaseFaults: true}
	// cancelled tells of a task of that func whose cancel is acknowledged at 100 ms.
	cancelled := func(fn string, tell func(*story)) func(*story) {
		return func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1, Func: fn, Ms: 3000})
			s.cancel("n1", 90, 100, "a", OK, "", "REVOKED")
			tell(s)
			s.end("a", revokedAt(2))
			s.list(Listed{"a", 1})
		}
	}
	judge(t, checkStopped, []tale{
		{"stopped in time", cancelled(workFunc, func(s *story) { s.run("n1", 20, 1100, "a", 1, EndStopped) }), o, ""},
		{"ran on", cancelled(workFunc, func(s *story) { s.run("n1", 20, 1101, "a", 1, EndStopped) }), o, "was seen final at 100ms, and ran on until 1.101s"},
		{"cannot hear", cancelled(deafFunc, func(s *story) { s.run("n1", 20, 3020, "a", 1, EndOK) }), o, ""},
		{"cannot hear and ran on", cancelled(deafFunc, func(s *story) { s.run("n1", 20, 4101, "a", 1, EndOK) }), o, "ran on until 4.101s"},
		{"began late", cancelled(workFunc, func(s *story) { s.run("n1", 1101, 1102, "a", 2, EndOK) }), o, "and run after that"},
		{"never ended", cancelled(workFunc, func(s *story) { s.run("n1", 20, 0, "a", 1, "") }), o, "ran on until 1m35.001s"},
		{"ended with its node", cancelled(workFunc, func(s *story) {
			s.run("n1", 20, 0, "a", 1, "")
			s.down("n1", 200)
		}), o, ""},
		{"not looked at", cancelled(workFunc, func(s *story) { s.run("n1", 20, 9000, "a", 1, EndStopped) }), Options{}, ""},
	})
}
