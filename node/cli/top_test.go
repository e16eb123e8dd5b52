package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pytasks/node/client"
	"pytasks/node/client/clienttest"
)

// topAPI is a cluster of two whose leader counts ten tasks more, half of them failed, each time it is asked for its metrics.
func topAPI(t *testing.T) (*clienttest.API, string) {
	t.Helper()
	api, url := clienttest.New(t)
	looks := 0
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/cluster":
			fmt.Fprintf(w, `{"leader": "b", "nodes": [
				{"name": "a", "role": "voter", "status": "alive", "slots": 4, "running": 7, "load": 0.5, "http": %q, "draining": true, "version": "v1"},
				{"name": "b", "role": "voter", "status": "alive", "slots": 2, "running": 0, "http": %q},
				{"name": "c", "role": "voter", "status": "failed", "slots": 2, "running": 0, "http": ""}],
				"tasks": {"PENDING": 12345, "FAILURE": 3}}`, deadURL, "http://"+r.Host)
		case r.URL.Path == "/metrics":
			looks++
			fmt.Fprintf(w, "# HELP pytasks_tasks_enqueued_total x\npytasks_tasks_enqueued_total{type=\"a\"} %d\npytasks_tasks_enqueued_total{type=\"b\"} 1e+06\n"+
				"pytasks_tasks_finished_total{status=\"SUCCESS\",type=\"a\"} %d\npytasks_tasks_finished_total{status=\"FAILURE\",type=\"a\"} %d\n"+
				"pytasks_tasks_finished_total_other 77\n", 10*looks, 5*looks, 5*looks)
		case r.URL.Path == "/task" && r.URL.Query().Get("status") == "STARTED":
			now := time.Now().UTC()
			fmt.Fprintf(w, `{"items": [
				{"id": "young", "type": "p.m.f", "status": "STARTED", "node": "a", "attempt": 1, "assigned_at": %q},
				{"id": "old", "type": "p.m.f", "status": "STARTED", "node": "a", "attempt": 2, "owner": "ann", "assigned_at": %q}]}`,
				now.Format(time.RFC3339Nano), now.Add(-90*time.Second).Format(time.RFC3339Nano))
		default:
			return false
		}
		return true
	}
	return api, url
}

const deadURL = "http://127.0.0.1:1"

func TestTopOnce(t *testing.T) {
	_, url := topAPI(t)
	run := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		c := &cli{in: strings.NewReader(""), out: &out, err: &errs, every: 100 * time.Millisecond, getenv: func(string) string { return "" }}
		code := c.execute(t.Context(), append([]string{"top"}, args...))
		return code, out.String(), errs.String()
	}
	code, out, errs := run("--once", "--addr", url)
	if code != 0 || errs != "" || strings.Contains(out, "\x1b") {
		t.Fatalf("got exit code %d, %q, %q", code, out, errs)
	}
	lines := strings.Split(out, "\n")
	for i, want := range map[int]string{
		0: "3 nodes, b leads", 3: "0 12,345 0 0 0 3 0", 7: "a voter alive, draining 4/4 3 50% v1", 8: "b leader alive 0/2 0 0% -",
		9: "c voter failed 0/2 0 0% -", 12: "1m30s old p.m.f a 2 ann", 13: "0s young p.m.f a 1 -",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasSuffix(got, want) {
			t.Errorf("line %d: got %q, want %q", i, got, want)
		}
	}
	var queued, finished, failed float64
	if n, err := fmt.Sscanf(lines[4], "per second: %g queued, %g finished, %g of them failed", &queued, &finished, &failed); n != 3 {
		t.Fatalf("got %q, %v", lines[4], err)
	}
	// Ten in 100 ms and what the looks take.
	if queued < 5 || queued > 101 || queued != finished || failed < queued/2-1 || failed > queued/2+1 {
		t.Errorf("got the rates %g, %g, %g", queued, finished, failed)
	}

	code, out, _ = run("--json", "--addr", url)
	var v struct {
		Time    time.Time
		Cluster client.Cluster
		Rates   client.TopRates
		Running []client.Task
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || strings.Count(out, "\n") != 1 {
		t.Fatalf("got %d, %q, %v", code, out, err)
	}
	if v.Cluster.Leader != "b" || v.Rates.Queued <= 0 || len(v.Running) != 2 || v.Running[0].ID != "old" || v.Time.IsZero() {
		t.Errorf("got %+v", v)
	}
	if code, _, _ := run("--addr", clienttest.DeadAddr(t)); code != ExitUnreachable {
		t.Errorf("got exit code %d, want %d", code, ExitUnreachable)
	}
	if code, _, _ := run("more"); code != ExitUsage {
		t.Errorf("got exit code %d, want %d", code, ExitUsage)
	}
}

// TestTopWithoutMetrics: who may not read the leader's metrics, or does not reach it, sees the rest at once.
func TestTopWithoutMetrics(t *testing.T) {
	api, url := topAPI(t)
	inner := api.Spoil
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/metrics" {
			clienttest.AnswerError(w, http.StatusForbidden, "forbidden", "no")
			return true
		}
		return inner(w, r)
	}
	code, out, errs := runCLI(t, nil, "top", "--addr", url)
	if code != 0 || errs != "" || !strings.Contains(out, "per second: not known\n") || !strings.Contains(out, "old") {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
}

func TestTopRates(t *testing.T) {
	at := time.Unix(1000, 0)
	old := &client.TopCounters{Leader: "a", At: at, Queued: 100, Finished: 50, Failed: 5}
	for name, c := range map[string]struct {
		now  *client.TopCounters
		want *client.TopRates
	}{
		"two seconds":    {&client.TopCounters{Leader: "a", At: at.Add(2 * time.Second), Queued: 110, Finished: 51, Failed: 5}, &client.TopRates{Queued: 5, Finished: 0.5, Failed: 0}},
		"another leader": {&client.TopCounters{Leader: "b", At: at.Add(2 * time.Second), Queued: 110, Finished: 51, Failed: 5}, nil},
		"a new process":  {&client.TopCounters{Leader: "a", At: at.Add(2 * time.Second), Queued: 10, Finished: 5, Failed: 0}, nil},
		"no time":        {&client.TopCounters{Leader: "a", At: at, Queued: 100, Finished: 50, Failed: 5}, nil},
		"unknown":        {nil, nil},
	} {
		got := c.now.Since(old)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if (&client.TopCounters{}).Since(nil) != nil {
		t.Error("there are rates since nothing")
	}
	for n, want := range map[float64]string{0: "0", 0.52: "0.5", 3: "3", 12.6: "13", 1234.4: "1,234"} {
		if got := perSecond(n); got != want {
			t.Errorf("%g: got %s, want %s", n, got, want)
		}
	}
}
