package history

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// direct carries requests to a handler in this process.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

// play runs a workload against the fake, in virtual time, and judges it.
func play(t *testing.T, fault fakeFault) *Report {
	t.Helper()
	var (
		h       *History
		journal Memory
	)
	synctest.Test(t, func(t *testing.T) {
		transport := direct{newFake(t, &journal, fault)}
		rec := NewRecorder(time.Now)
		w, err := NewWorkload(Config{
			Nodes:     []Node{{"n1", "http://n1"}, {"n2", "http://n2"}},
			Transport: func(int) http.RoundTripper { return transport },
			Recorder:  rec, Seed: 1, For: 20 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Run(t.Context())
		if err := w.Settle(t.Context()); err != nil {
			t.Error(err)
		}
		h = rec.History()
	})
	return Check(h, journal.Entries(), Options{Faults: 1, MinRate: 20, Grace: time.Second})
}

// TestWorkload: against a cluster that keeps its promises, all that the workload does is
// in order, settles, and is judged so.
func TestWorkload(t *testing.T) {
	r := play(t, sound)
	if len(r.Violations) > 0 {
		t.Errorf("got %v", r)
	}
	for _, k := range []Kind{Submit, Batch, Read, Wait, Cancel, List} {
		if r.Ops[k][OK] == 0 {
			t.Errorf("no %s was acknowledged: %v", k, r)
		}
	}
	for _, status := range []string{"SUCCESS", "FAILURE", "REVOKED"} {
		if r.Ends[status] == 0 {
			t.Errorf("no task ended as %s: %v", status, r)
		}
	}
	if r.Reruns == 0 || r.Ops[Submit][Refused] == 0 || r.Ops[Submit][Unknown] == 0 {
		t.Errorf("no reruns, no refusals or nothing unknown: %v", r)
	}
}

// TestWorkloadFinds: the workload does what it takes to find a cluster that breaks a
// promise now and then.
func TestWorkloadFinds(t *testing.T) {
	for fault, want := range map[fakeFault]string{
		forgets: "is not final at n1 in the end",
		doubles: "stands for",
		repeats: "ran an attempt twice",
		revives: "has two ends",
	} {
		t.Run(want, func(t *testing.T) {
			if r := play(t, fault); !strings.Contains(strings.Join(r.Violations, "\n"), want) {
				t.Errorf("got %v, want a violation with %q", r, want)
			}
		})
	}
}

// nobody refuses every connection.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
}

// TestWorkloadStops: with nobody there a workload ends in time, after no more requests than
// its rate allows, and says that nothing came of it.
func TestWorkloadStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := NewRecorder(time.Now)
		w, err := NewWorkload(Config{
			Nodes: []Node{{"n1", "http://n1"}}, Transport: func(int) http.RoundTripper { return nobody{} },
			Recorder: rec, Rate: 10, For: 10 * time.Second, SettleIn: 5 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		w.Run(t.Context())
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Run took %s, want 10s", took)
		}
		h := rec.History()
		if n := len(h.Ops); n == 0 || n > 500 { // of four writers and a canceller
			t.Errorf("got %d requests, want at most 500", n)
		}
		if r := Check(h, nil, Options{Faults: 1}); len(r.Violations) == 0 {
			t.Errorf("got %v, want a violation: nothing was acknowledged", r)
		}

		w.book.add([]Listed{{"a", 1}})
		start = time.Now()
		err = w.Settle(t.Context())
		if took := time.Since(start); err == nil || took > 6*time.Second || !strings.Contains(err.Error(), "n1/a") {
			t.Errorf("Settle: got %v after %s, want an error that names n1/a after 5s", err, took)
		}
	})
}

func TestConfig(t *testing.T) {
	rec := NewRecorder(time.Now)
	for want, c := range map[string]Config{
		"name at least one node": {Recorder: rec},
		"give a recorder":        {Nodes: []Node{{"n1", "http://n1"}}},
	} {
		if _, err := NewWorkload(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
