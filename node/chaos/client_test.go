//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answer is what a node answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// code is the stable code of a refusal.
func (a answer) code() string {
	var v struct{ Code string }
	_ = json.Unmarshal(a.body, &v)
	return v.Code
}

// byAddress is a transport whose requests name their node by an address: nodes on loopback answer to no other name.
type byAddress struct{ http.RoundTripper }

// RoundTrip sends the request.
func (b byAddress) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "127.0.0.1:8080"
	return b.RoundTripper.RoundTrip(r)
}

// send sends one request to the node, once.
func (n *node) send(within time.Duration, method, path, body string, headers ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.url()+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token := n.token(); token != "" && method != http.MethodGet {
		req.Header.Set("Authorization", token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, text}, err
}

// get reads a path that must answer with status 200.
func (n *node) get(path string) ([]byte, error) {
	a, err := n.send(10*time.Second, http.MethodGet, path, "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%s: GET %s: %v", n.name, path, a)
	}
	return a.body, err
}

// member is a node as another sees it.
type member struct{ Name, ID, Status, Role string }

// view is the cluster as a node sees it.
type view struct {
	Leader    string
	Term      uint64
	LastIndex uint64 `json:"last_index"` // of its log
	Nodes     []member
}

func (n *node) view() (view, error) {
	var v view
	text, err := n.get("/cluster")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// record is a task as a node shows it.
type record struct {
	ID, Status, Node, Reason string
	Attempt                  int
	Attempts                 []struct{ Node, Reason string }
}

func (n *node) task(id string) (record, error) {
	var r record
	text, err := n.get("/task/" + id)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// submit queues a task of the test's own and returns its id.
func (n *node) submit(body string) string {
	n.t.Helper()
	var id string
	eventually(n.t, 20*time.Second, n.name+" takes a task", func() error {
		a, err := n.send(10*time.Second, http.MethodPost, "/task", body)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%v", a)
		}
		if err != nil {
			return err
		}
		var r record
		err = json.Unmarshal(a.body, &r)
		id = r.ID
		return err
	})
	return id
}

// metric reads a metric without labels.
func (n *node) metric(name string) (float64, error) {
	text, err := n.get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", n.name, name)
}

// statusError says whether an answer has another status than is wanted.
func statusError(a answer, err error, want int) error {
	if err == nil && a.status != want {
		err = fmt.Errorf("%v", a)
	}
	return err
}

// eventually polls, since what it waits for comes over a real network; the last error says what was missing. It returns
// how long it took.
func eventually(t testing.TB, within time.Duration, what string, try func() error) time.Duration {
	t.Helper()
	return poll(t, 20*time.Millisecond, within, what, try)
}

// poll is eventually for what is not to be asked so often.
func poll(t testing.TB, every, within time.Duration, what string, try func() error) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return time.Since(start)
		}
		if <-tick.C; time.Since(start) > within {
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
