package cli

import (
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pytasks/node/client/clienttest"
)

// runBench measures a fake and returns the exit code and the report.
func runBench(t *testing.T, args ...string) (int, benchReport, string) {
	t.Helper()
	code, out, errs := runCLI(t, nil, append([]string{"bench", "--json"}, args...)...)
	var r benchReport
	if out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("got %q, want a report: %v", out, err)
		}
	}
	return code, r, errs
}

func TestBenchModes(t *testing.T) {
	for _, tt := range []struct {
		args  string
		tasks int // that the fake must have in the end
		mode  string
	}{
		{"--tasks 100 --connections 7", 100, "submit"},
		{"--tasks 3 --connections 8", 3, "submit"},
		{"--tasks 1050 --connections 4 --batch 100", 1050, "submit"},
		{"--tasks 60 --connections 3 --wait", 60, "wait"},
		{"--tasks 300 --connections 3 --verify sample", 300, "submit"},
		{"--tasks 40 --connections 2 --verify none", 40, "submit"},
		{"--tasks 50 --connections 4 --get", 50, "get"},
		{"--tasks 20 --connections 2 --type test.main.add --args {\"x\":2,\"y\":3}", 20, "submit"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			api, url := clienttest.New(t)
			other := api.Serve(t)
			code, r, errs := runBench(t, append(strings.Fields(tt.args), "--addr", url+","+other)...)
			if code != 0 || r.Failed != 0 || r.Retries != 0 {
				t.Fatalf("got exit code %d, %+v, %s, want no failures", code, r, errs)
			}
			if got := len(api.Order); got != tt.tasks || r.Mode != tt.mode {
				t.Errorf("got %d tasks in mode %s, want %d in %s", got, r.Mode, tt.tasks, tt.mode)
			}
			if api.Hosts[url] == 0 || api.Hosts[other] == 0 {
				t.Errorf("got requests %v, want both addresses used", api.Hosts)
			}
			l := r.Latency
			if l.First <= 0 || l.First > l.Max || l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max {
				t.Errorf("got latencies %+v, want them to rise", l)
			}
			if tt.mode == "get" {
				if r.GetPerS <= 0 || r.AcceptPerS != 0 {
					t.Errorf("got %+v, want a rate of reads only", r)
				}
				return
			}
			if r.AcceptPerS < r.EndToEndPerS || r.EndToEndPerS <= 0 {
				t.Errorf("got accept %v, end to end %v, want both, the second no faster", r.AcceptPerS, r.EndToEndPerS)
			}
			want := tt.tasks
			if strings.Contains(tt.args, "none") {
				want = 0
			}
			if r.Verified != want {
				t.Errorf("got %d read again, want %d", r.Verified, want)
			}
		})
	}
}

// TestBenchSample reads fewer again than there are.
func TestBenchSample(t *testing.T) {
	_, url := clienttest.New(t)
	_, r, errs := runBench(t, "--tasks", "5000", "--connections", "4", "--batch", "100", "--verify", "sample", "--addr", url)
	if r.Verified < 900 || r.Verified > sampleSize {
		t.Errorf("got %d of 5000 read again, %s, want about %d", r.Verified, errs, sampleSize)
	}
}

// TestBenchCountsWrongResults: a wrong sum, a failed task and a lost one are all failures.
func TestBenchCountsWrongResults(t *testing.T) {
	for _, tt := range []struct {
		what   string
		damage func(*clienttest.API)
	}{
		{"wrong sum", func(f *clienttest.API) {
			f.Sum = func(x, y *big.Int) *big.Int {
				if x.Int64() == 5 {
					return x
				}
				return new(big.Int).Add(x, y)
			}
		}},
		{"lost task", func(f *clienttest.API) {
			f.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "-000000000005") {
					clienttest.AnswerError(w, http.StatusNotFound, "not_found", "gone")
					return true
				}
				return false
			}
		}},
		{"failed task", func(f *clienttest.API) {
			f.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if t := f.Tasks["0192f0c1-0000-7000-8000-000000000005"]; t != nil {
					t.Type = "test.main.fail"
				}
				return false
			}
		}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			api, url := clienttest.New(t)
			tt.damage(api)
			code, r, errs := runBench(t, "--tasks", "10", "--connections", "1", "--addr", url)
			if code != 1 || r.Failed != 1 || !strings.Contains(errs, "1 of 10 tasks") {
				t.Errorf("got exit code %d, %d failed, %q, want 1 and one failure", code, r.Failed, errs)
			}
		})
	}
}

// TestBenchGoesOn: a node without a leader, or with a full queue, is asked again.
func TestBenchGoesOn(t *testing.T) {
	api, url := clienttest.New(t)
	var posts atomic.Int32
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		switch posts.Add(1) {
		case 2:
			clienttest.AnswerError(w, http.StatusServiceUnavailable, "no_leader", "no leader")
			return true
		case 4:
			clienttest.AnswerError(w, http.StatusTooManyRequests, "queue_full", "full")
			return true
		case 6:
			panic(http.ErrAbortHandler)
		}
		return false
	}
	code, r, errs := runBench(t, "--tasks", "10", "--connections", "1", "--addr", url)
	if code != 0 || r.Retries != 3 || r.Failed != 0 {
		t.Errorf("got exit code %d, %+v, %s, want 3 retries and no failure", code, r, errs)
	}
}

func TestBenchStopsAtARefusal(t *testing.T) {
	api, url := clienttest.New(t)
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			clienttest.AnswerError(w, http.StatusNotFound, "unknown_type", "task type x doesnt exist")
		}
		return r.Method == http.MethodPost
	}
	code, _, errs := runBench(t, "--tasks", "1000", "--connections", "4", "--type", "x", "--addr", url)
	if code != 1 || !strings.Contains(errs, "task type x doesnt exist") || len(api.Seen()) > 12 {
		t.Errorf("got exit code %d, %q after %d requests, want 1 and the refusal at once", code, errs, len(api.Seen()))
	}
}

func TestBenchNobodyThere(t *testing.T) {
	dead := clienttest.DeadAddr(t)
	code, _, errs := runBench(t, "--addr", dead)
	if code != 3 || !strings.Contains(errs, dead) {
		t.Errorf("got exit code %d, %q, want 3 and the address", code, errs)
	}
}

// TestBenchAtFollower sends to the node that is not the leader; the fake says that this
// is its own address.
func TestBenchAtFollower(t *testing.T) {
	api, url := clienttest.New(t)
	code, _, errs := runBench(t, "--tasks", "5", "--connections", "1", "--at", "follower", "--addr", url)
	if code != 0 || len(api.Order) != 5 {
		t.Errorf("got exit code %d, %s, %d tasks, want 5", code, errs, len(api.Order))
	}
}

func TestBenchRefusesNonsense(t *testing.T) {
	for line, want := range map[string]string{
		"--tasks 0": "--tasks 0", "--tasks -5": "--tasks -5", "--connections 0": "--connections 0", "--batch 0": "--batch 0",
		"--batch 10001": "10000", "--wait --batch 2": "--batch", "--get --wait": "--get", "--verify some": "--verify",
		"--args [1]": "JSON object", "--args null": "JSON object", "--type=": "--type", "--at nowhere": "--at", "--local -1": "--local",
		"--local 3 --addr http://a:1": "--local", "--install ./hello": "--local", "--slots 2": "--local", "--local 1 --slots -1": "--slots",
	} {
		code, _, errs := runCLI(t, nil, append([]string{"bench"}, strings.Fields(line)...)...)
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: got exit code %d, %q, want 2 and %q", line, code, errs, want)
		}
	}
}

// TestBenchEndIsTheLatestFinish: where a task that was not waited for finished after those
// that were, the end moves by the difference on the nodes' clock.
func TestBenchEndIsTheLatestFinish(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newBenchLoad(benchOptions{addrs: []string{"http://a:1"}, tasks: 2, connections: 2, batch: 1})
	elsewhere := start.Add(time.Hour) // another clock
	for i, w := range l.workers {
		w.ids.add([]byte("x"))
		w.accepted = start.Add(time.Second)
		w.lastFinished = elsewhere.Add(time.Duration(i) * time.Second)
	}
	l.workers[0].latestFinished = elsewhere.Add(3 * time.Second)
	r := l.report(start, start.Add(2*time.Second))
	if r.AcceptPerS != 2 || r.Seconds != 4 || r.EndToEndPerS != 0.5 {
		t.Errorf("got %+v, want 2/s accepted and 4 s to the end", r)
	}
}

func TestBenchLatency(t *testing.T) {
	var all []time.Duration
	for i := 1000; i >= 1; i-- {
		all = append(all, time.Duration(i)*time.Millisecond)
	}
	if got, want := newBenchLatency(all), (benchLatency{P50: 500, P90: 900, P99: 990, Max: 1000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := newBenchLatency(all[:1]), (benchLatency{P50: 1, P90: 1, P99: 1, Max: 1}); got != want {
		t.Errorf("of one: got %+v, want %+v", got, want)
	}
	if got := newBenchLatency(nil); got != (benchLatency{}) {
		t.Errorf("of none: got %+v, want zeros", got)
	}
}

func TestIDList(t *testing.T) {
	var l idList
	for _, tt := range []struct {
		answer string
		list   bool
		want   int
	}{
		{`{"id":"a-1","type":"id","status":"PENDING"}`, false, 1},
		{`{"type": "id", "id": "b"}`, false, 1},
		{`{"ids":["c","d"],"more":["e"]}`, true, 2},
		{`{"ids":[]}`, true, 0},
		{`{"ids":["f`, true, 0},
		{`{"message":"no"}`, false, 0},
		{`{"message":"no"}`, true, 0},
	} {
		if got := l.addAll([]byte(tt.answer), tt.list); got != tt.want {
			t.Errorf("%s: got %d ids, want %d", tt.answer, got, tt.want)
		}
	}
	var got []string
	for i := range l.len() {
		got = append(got, l.at(i))
	}
	if want := "a-1 b c d"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkWriteTasks(b *testing.B) {
	l := newBenchLoad(benchOptions{addrs: []string{"http://a:1"}, tasks: 1, connections: 1, batch: 100, taskType: defaultType})
	b.ReportAllocs()
	for b.Loop() {
		l.workers[0].writeTasks(100)
	}
}
