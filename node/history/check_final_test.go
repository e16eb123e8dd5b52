package history

import "testing"

func TestCheckFinal(t *testing.T) {
	other := success(1, 1)
	other.Sum = "other"
	judge(t, checkFinal, []tale{
		{"agrees", (*story).simple, Options{}, ""},
		{"another record at another node", func(s *story) {
			s.simple()
			s.read("n2", Default, 91_000, 91_001, "a", other)
		}, Options{}, "task a has two ends"},
		{"another status in an answer", func(s *story) {
			s.simple()
			s.cancel("n1", 50, 60, "a", OK, "", "REVOKED")
		}, Options{}, "task a has two ends"},
		{"the same status in an answer", func(s *story) {
			s.simple()
			s.cancel("n1", 50, 60, "a", Refused, "finished", "SUCCESS")
		}, Options{}, ""},
	})
}

func TestCheckOwnState(t *testing.T) {
	judge(t, checkOwnState, []tale{
		{"forward", func(s *story) {
			s.simple()
			s.read("n2", Stale, 30, 31, "a", at("STARTED", 1))
			s.read("n2", Stale, 40, 41, "a", success(1, 1))
		}, Options{}, ""},
		{"back", func(s *story) {
			s.simple()
			s.read("n2", Stale, 40, 41, "a", success(1, 1))
			s.read("n2", Stale, 42, 43, "a", at("STARTED", 1))
		}, Options{}, "n2 forgot what it knew"},
		{"back to an earlier attempt", func(s *story) {
			s.simple()
			s.read("n2", Linearizable, 24, 25, "a", at("PENDING", 1))
			s.read("n2", Default, 26, 27, "a", at("STARTED", 1))
		}, Options{}, "n2 forgot what it knew"},
		{"back at another node", func(s *story) {
			s.simple()
			s.read("n2", Stale, 40, 41, "a", success(1, 1))
			s.read("n1", Stale, 42, 43, "a", at("STARTED", 1))
		}, Options{}, ""},
		{"back after a restart", func(s *story) {
			s.simple()
			s.read("n2", Stale, 40, 41, "a", success(1, 1))
			s.down("n2", 50)
			s.read("n2", Stale, 60, 61, "a", Record{Status: Absent})
		}, Options{}, ""},
		{"back at once", func(s *story) {
			s.simple()
			s.read("n2", Stale, 40, 45, "a", success(1, 1))
			s.read("n2", Stale, 44, 46, "a", at("STARTED", 1))
		}, Options{}, ""},
		{"back from what the leader told", func(s *story) {
			s.simple()
			s.read("n2", Default, 40, 41, "a", success(1, 1))
			s.read("n2", Stale, 42, 43, "a", at("STARTED", 1))
		}, Options{}, ""},
	})
}

func TestCheckDenied(t *testing.T) {
	gone := Record{Status: Absent}
	judge(t, checkDenied, []tale{
		{"denied by default", func(s *story) {
			s.simple()
			s.read("n2", Default, 11, 12, "a", gone)
		}, Options{}, "task a was denied"},
		{"denied after it was seen", func(s *story) {
			s.submit("n1", 0, 10, Task{ID: "a", N: 1}).Outcome = Unknown
			s.read("n2", Stale, 11, 12, "a", at("PENDING", 0))
			s.read("n1", Default, 13, 14, "a", gone)
			s.end("a", success(1, 1))
		}, Options{}, "task a was denied"},
		{"not known yet", func(s *story) {
			s.simple()
			s.read("n2", Default, 10, 12, "a", gone)
		}, Options{}, ""},
		{"stale", func(s *story) {
			s.simple()
			s.read("n2", Stale, 11, 12, "a", gone)
		}, Options{}, ""},
	})
}
