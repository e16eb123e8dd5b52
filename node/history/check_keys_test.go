package history

import "testing"

func TestCheckKeys(t *testing.T) {
	keyed := func(s *story, call, n int, id, payload string) *Op {
		op := s.submit("n1", call, call+5, Task{ID: id, N: n})
		op.Key, op.Payload = "k", payload
		return op
	}
	own := func(s *story, call int, payload string) *Op {
		op := s.submit("n1", call, call+5, Task{ID: "a", N: 1})
		op.Payload = payload
		return op
	}
	judge(t, checkKeys, []tale{
		{"one id", func(s *story) {
			keyed(s, 10, 1, "a", "p")
			keyed(s, 11, 1, "a", "p")
			s.simple()
		}, Options{}, ""},
		{"two ids", func(s *story) {
			s.simple()
			keyed(s, 10, 1, "a", "p")
			keyed(s, 11, 1, "b", "p")
		}, Options{}, "Idempotency-Key k stands for [a] by"},
		{"two payloads", func(s *story) {
			s.simple()
			keyed(s, 10, 1, "a", "p")
			keyed(s, 11, 2, "a", "q")
		}, Options{}, "Idempotency-Key k was taken for two payloads"},
		{"another payload is refused", func(s *story) {
			s.simple()
			keyed(s, 10, 1, "a", "p")
			op := keyed(s, 20, 2, "", "q")
			op.Outcome, op.Code = Refused, "key_reused"
		}, Options{}, ""},
		{"the same payload is refused", func(s *story) {
			s.simple()
			keyed(s, 10, 1, "a", "p")
			op := keyed(s, 20, 1, "", "p")
			op.Outcome, op.Code = Refused, "key_reused"
		}, Options{}, "Idempotency-Key k has one payload, yet"},
		{"an id for two payloads", func(s *story) {
			own(s, 10, "p")
			own(s, 20, "q")
		}, Options{}, "id a was taken for two payloads"},
		{"an id is refused as taken by itself", func(s *story) {
			own(s, 10, "p").Outcome = Unknown
			op := own(s, 20, "p")
			op.Outcome, op.Code = Refused, "id_taken"
		}, Options{}, "id a has one payload, yet"},
	})
}

func TestCheckLists(t *testing.T) {
	one := func(s *story, n int, id string) {
		s.submit("n1", 10*n, 10*n+5, Task{ID: id, N: n})
		s.run("n1", 1000+100*n, 1010+100*n, id, 1, EndOK)
		s.end(id, success(n, 1))
	}
	judge(t, onList(checkLists), []tale{
		{"all once", func(s *story) {
			one(s, 1, "a")
			one(s, 2, "b")
			s.list(Listed{"a", 1}, Listed{"b", 2})
		}, Options{}, ""},
		{"a task is missing", func(s *story) {
			one(s, 1, "a")
			one(s, 2, "b")
			s.list(Listed{"a", 1})
		}, Options{}, "task number 2 is missing"},
		{"a task twice", func(s *story) {
			one(s, 1, "a")
			s.list(Listed{"a", 1}, Listed{"b", 1})
		}, Options{}, "task number 1 is there 2 times: [a b]"},
		{"a refused task", func(s *story) {
			one(s, 1, "a")
			s.submit("n1", 50, 60, Task{N: 2}).Outcome = Refused
			s.list(Listed{"a", 1}, Listed{"b", 2})
		}, Options{}, "task number 2 is there, but it was refused"},
		{"a task of nobody", func(s *story) {
			one(s, 1, "a")
			s.list(Listed{"a", 1}, Listed{"b", 2})
		}, Options{}, "task number 2 is there, but nobody asked for it"},
		{"half a batch", func(s *story) {
			one(s, 1, "a")
			s.submit("n1", 50, 60, Task{N: 2}, Task{N: 3}).Outcome = Unknown
			s.list(Listed{"a", 1}, Listed{"b", 3})
		}, Options{}, "of the batch with the task numbers [2 3] only 1 tasks are there"},
		{"no batch", func(s *story) {
			one(s, 1, "a")
			s.submit("n1", 50, 60, Task{N: 2}, Task{N: 3}).Outcome = Unknown
			s.list(Listed{"a", 1})
		}, Options{}, ""},
		{"a key for two tasks", func(s *story) {
			for n, id := range []string{"", "a", "b"} {
				if n > 0 {
					op := s.submit("n1", 50, 60, Task{N: n, ID: id})
					op.Key, op.Outcome = "k", Unknown
				}
			}
			s.list(Listed{"a", 1}, Listed{"b", 2})
		}, Options{}, "key k made two tasks, number 1 and number 2"},
	})
}

// onList gives the violations of one node's list only: the stories list the same at both.
func onList(check func(*view, Options) []string) func(*view, Options) []string {
	return func(v *view, o Options) []string {
		bad := check(v, o)
		return bad[:len(bad)/2]
	}
}
