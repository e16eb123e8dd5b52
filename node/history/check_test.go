package history

import (
	"strings"
	"testing"
)

func TestCheckLoad(t *testing.T) {
	s := new(story)
	s.submit("n1", 0, 500, Task{ID: "a", N: 1})
	s.submit("n1", 500, 1000, Task{ID: "b", N: 2})
	s.submit("n1", 500, 2000, Task{ID: "c", N: 3}).Outcome = Unknown
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Faults: 1, MinRate: 1}, ""},
		{Options{Faults: 0, MinRate: 1}, "no effective fault"},
		{Options{Faults: 1, MinRate: 2}, "only 1.0 writes"},
	} {
		bad := strings.Join(checkLoad(newView(&s.History, nil), c.o), "; ")
		if (c.want == "") != (bad == "") || !strings.Contains(bad, c.want) {
			t.Errorf("%+v: got %q, want %q", c.o, bad, c.want)
		}
	}
}

// TestReport: what a report counts, and how it reads.
func TestReport(t *testing.T) {
	s := new(story)
	s.simple()
	s.submit("n1", 0, 10, Task{ID: "b", N: 2}).Outcome = Unknown
	s.run("n1", 20, 0, "b", 1, "")
	s.down("n1", 5000)
	s.run("n2", 30, 60, "b", 2, EndOK)
	s.run("n2", 70, 80, "b", 1, EndOK)
	s.end("b", failure(reasonLost, 3))
	r := Check(&s.History, s.journal, Options{Faults: 1, LeaseFaults: true})
	got := r.String()
	for _, want := range []string{
		"submit       1 ok      0 refused      1 unknown\n",
		"2 tasks, 1 acknowledged, 1 FAILURE, 1 SUCCESS; 1 given up with their nodes\n",
		"4 runs, 2 again, 2 overlapping, 1 late, 1 without an end\n",
		"- task b ran an attempt twice: attempt 1 at n1 (start at 20ms, no end), and attempt 1 at n2 (start at 70ms, ok at 80ms)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want in it %s", got, want)
		}
	}
	r.Violations = nil
	if got := r.String(); !strings.HasSuffix(got, "no violations\n") {
		t.Errorf("got %s, want no violations at the end", got)
	}
}
