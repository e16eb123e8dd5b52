package history

import "testing"

func TestCheckAcked(t *testing.T) {
	judge(t, checkAcked, []tale{
		{"all is there", (*story).simple, Options{}, ""},
		{"a node has not got it", func(s *story) {
			s.simple()
			s.read("n2", Linearizable, 91_000, 91_001, "a", Record{Status: Absent})
		}, Options{}, "task a, acknowledged to client 0's submit at n1 (0s to 10ms), is not final at n2"},
		{"it never ended", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1})
			s.end("a", success(1, 1))
			s.read("n1", Linearizable, 91_000, 91_001, "a", at("PENDING", 2))
		}, Options{}, "not final at n1"},
		{"a node was not asked", func(s *story) {
			s.simple()
			s.read("n3", Stale, 91_000, 91_001, "a", success(1, 1))
		}, Options{}, "not read at n3"},
		{"a node that is gone was not asked", func(s *story) {
			s.simple()
			s.read("n3", Stale, 91_000, 91_001, "a", success(1, 1))
		}, Options{Gone: []string{"n3"}}, ""},
		{"an unknown submit came to nothing", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1}).Outcome = Unknown
			s.end("a", Record{Status: Absent})
			s.list()
		}, Options{}, ""},
	})
}

func TestCheckEnds(t *testing.T) {
	// ended tells of one task and its end.
	ended := func(asked Task, r Record, runs ...string) func(*story) {
		return func(s *story) {
			asked.ID, asked.N = "a", 1
			s.submit("n1", 0, 10, asked)
			for i, how := range runs {
				s.run("n1", 20+20*i, 30+20*i, "a", i+1, how)
			}
			s.end("a", r)
			s.list(Listed{"a", 1})
		}
	}
	failed := Past{1, "n1", reasonError}
	lost := func(attempt int) Past { return Past{attempt, "n1", reasonLost} }
	judge(t, checkEnds, []tale{
		{"a wrong result", ended(Task{}, success(2, 1), EndOK), Options{}, "the result is to be 1000000010"},
		{"failed as asked", ended(Task{Fail: -1, MaxAttempts: 2}, failure(reasonError, 2, failed), EndFailed, EndFailed), Options{}, ""},
		{"failed unasked", ended(Task{}, failure(reasonError, 1), EndFailed), Options{}, "it does not fail so"},
		{"failed by a timeout", ended(Task{Fail: -1}, failure("timeout", 1), EndFailed), Options{}, "it does not fail so"},
		{"succeeded at the second", ended(Task{Fail: 1, MaxAttempts: 3}, Record{
			Status: "SUCCESS", Attempt: 2, Node: "n1", Result: ResultOf(1), Past: []Past{failed}, Sum: "s"}, EndFailed, EndOK), Options{}, ""},
		{"succeeded at one that fails", ended(Task{Fail: 1, MaxAttempts: 3}, success(1, 1), EndOK), Options{}, "that attempt fails"},
		{"failed before its time", ended(Task{Fail: 1, MaxAttempts: 3}, failure(reasonError, 1), EndFailed), Options{}, "it does not fail so"},
		{"failed too often", ended(Task{Fail: -1, MaxAttempts: 1}, failure(reasonError, 2, failed), EndFailed, EndFailed), Options{}, "failed 2 times, at most 1"},
		{"lost too often", ended(Task{}, failure(reasonLost, 3, lost(1), lost(2)), EndStopped, EndStopped, EndStopped), Options{}, ""},
		{"given up too soon", ended(Task{}, failure(reasonLost, 2, lost(1)), EndStopped, EndStopped), Options{}, "given up after 2 lost nodes, want 3"},
		{"past out of order", ended(Task{}, failure(reasonLost, 3, lost(2), lost(1)), EndStopped, EndStopped, EndStopped), Options{}, "out of order"},
		{"revoked by nobody", ended(Task{}, revokedAt(0)), Options{}, "nobody cancelled it"},
		{"revoked by a cancel without an answer", func(s *story) {
			s.cancel("n1", 5, 20, "a", Unknown, "io", "")
			ended(Task{}, revokedAt(0))(s)
		}, Options{}, ""},
	})
}
