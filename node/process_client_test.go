package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pytasks/node/client"
)

// testHTTP is how the process tests speak to nodes: with a bound on every answer, and
// connections that are used again.
var testHTTP = &http.Client{
	Timeout:   40 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
}

// answer is what a node answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s", a.status, a.body[:min(len(a.body), 1000)])
}

// code is the stable code of a refusal.
func (a answer) code() string { return member(a.body, "code") }

// send sends a request to one node, once. The headers are pairs of names and values.
func send(p *process, method, path, body string, headers ...string) (answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, p.http+path, r)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := testHTTP.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, text}, err
}

// must sends a request that must be answered with a status.
func (p *process) must(want int, method, path, body string, headers ...string) answer {
	p.t.Helper()
	a, err := send(p, method, path, body, headers...)
	if err != nil {
		p.t.Fatalf("%s: %s %s: %v", p.name, method, path, err)
	}
	if a.status != want {
		p.t.Fatalf("%s: %s %s: got %v, want %d", p.name, method, path, a, want)
	}
	return a
}

// read reads JSON from a path.
func (p *process) read(path string, into any, headers ...string) error {
	a, err := send(p, http.MethodGet, path, "", headers...)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s: GET %s: %v", p.name, path, a)
	}
	return json.Unmarshal(a.body, into)
}

// submit queues one task and returns its id.
func (p *process) submit(body string) string {
	p.t.Helper()
	id := member(p.must(http.StatusOK, http.MethodPost, "/task", body).body, "id")
	if id == "" {
		p.t.Fatalf("%s: no id in the answer to %s", p.name, body)
	}
	return id
}

// task returns a task as the node shows it.
func (p *process) task(id string) (*client.Task, error) {
	t := new(client.Task)
	return t, p.read("/task/"+id, t)
}

// finished waits for the end of a task at this node.
func (p *process) finished(id string, within time.Duration) *client.Task {
	p.t.Helper()
	var task *client.Task
	eventually(p.t, within, "task "+id+" finishes", func() error {
		a, err := send(p, http.MethodGet, "/task/"+id+"?wait=5s", "")
		if err != nil {
			return err
		}
		task = &client.Task{Raw: a.body}
		if err := json.Unmarshal(a.body, task); err != nil || !task.Finished() {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	return task
}

// succeeded is finished for a task that must end well.
func (p *process) succeeded(id string, within time.Duration) *client.Task {
	p.t.Helper()
	task := p.finished(id, within)
	if task.Status != "SUCCESS" {
		p.t.Fatalf("task %s: got %s (%s), want SUCCESS", id, task.Status, task.Reason)
	}
	return task
}

// sum is an addition that was asked for.
type sum struct {
	number int
	id     string
	record []byte // the finished task as one node showed it first; nil if it was not waited for
}

// body is the request for the addition; its result is 3 * number.
func (s *sum) body() string {
	return fmt.Sprintf(`{"type":"test.main.add","args":{"x":%d,"y":%d}}`, s.number, 2*s.number)
}

// sums submits n additions over so many connections, spread over all nodes, the way a
// careful client does: what got no clear answer is sent again, to the next node, under
// the same id or Idempotency-Key, until it is acknowledged. Of every 16th the result
// is waited for. At each number of acknowledged tasks in at, that function is called
// meanwhile.
func (ps processes) sums(n, connections int, at map[int]func()) []*sum {
	t := ps[0].t
	t.Helper()
	all := make([]*sum, n)
	var next, done atomic.Int64
	var meanwhile, workers sync.WaitGroup
	for c := range connections {
		workers.Go(func() {
			node := c
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				s := &sum{number: i}
				for deadline := time.Now().Add(20 * time.Second); ; node++ {
					ok, err := s.submit(ps[node%len(ps)])
					if ok {
						break
					}
					if time.Now().After(deadline) {
						t.Errorf("task %d was not taken within 20 s: %v", i, err)
						return
					}
					<-time.After(20 * time.Millisecond) // nobody there, or no leader yet
				}
				all[i] = s
				if f := at[int(done.Add(1))]; f != nil {
					meanwhile.Go(f)
				}
			}
		})
	}
	workers.Wait()
	meanwhile.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// submit sends the addition to a node; ok says that it is acknowledged.
func (s *sum) submit(p *process) (ok bool, err error) {
	path, body, headers := "/task", s.body(), []string{"Idempotency-Key", fmt.Sprintf("sum-%d", s.number)}
	if s.number%2 == 0 {
		body = strings.Replace(body, `{`, fmt.Sprintf(`{"id":"sum-%d",`, s.number), 1)
		headers = nil
	}
	waits := s.number%16 < 2
	if waits {
		path += "?wait=20s"
	}
	a, err := send(p, http.MethodPost, path, body, headers...)
	if err != nil {
		return false, err
	}
	switch a.status {
	case http.StatusOK, http.StatusAccepted:
		s.id = member(a.body, "id")
		if waits && a.status == http.StatusOK {
			s.record = a.body
		}
		return true, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return false, fmt.Errorf("%s: %v", p.name, a)
	}
	p.t.Errorf("%s: POST %s: got %v, want 200 or 503", p.name, body, a)
	return false, nil
}

// checkSums waits until every addition has succeeded and checks that each node has
// the same record of it, with the right value, and nothing beside them but so many
// others that succeeded.
func (ps processes) checkSums(all []*sum, others int) {
	t := ps[0].t
	t.Helper()
	for _, p := range ps {
		eventually(t, 30*time.Second, p.name+" sees all tasks finished", func() error {
			got, err := p.taskCounts()
			for status, n := range got {
				if want := map[string]int{"SUCCESS": len(all) + others}[status]; n != want {
					err = fmt.Errorf("got %v, want %d SUCCESS and nothing else", got, len(all)+others)
				}
			}
			return err
		})
	}
	work := make(chan *sum)
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for s := range work {
				ps.checkSum(s)
			}
		})
	}
	for _, s := range all {
		work <- s
	}
	close(work)
	workers.Wait()
}

func (ps processes) checkSum(s *sum) {
	t := ps[0].t
	first := s.record
	for _, p := range ps {
		a, err := send(p, http.MethodGet, "/task/"+s.id+"?consistency=stale", "")
		if err != nil || a.status != http.StatusOK {
			t.Errorf("%s: task %s: %v, %v", p.name, s.id, a, err)
			return
		}
		task := new(client.Task)
		if err := json.Unmarshal(a.body, task); err != nil || task.Status != "SUCCESS" || string(task.Result) != fmt.Sprint(3*s.number) {
			t.Errorf("%s: task %s: got %v, want SUCCESS with %d", p.name, s.id, a, 3*s.number)
		}
		if first == nil {
			first = a.body
		}
		if !bytes.Equal(a.body, first) {
			t.Errorf("%s: task %s: got %s, another node or an earlier answer said %s", p.name, s.id, a.body, first)
		}
	}
}

// taskCounts returns how many tasks the node knows, by status.
func (p *process) taskCounts() (map[string]int, error) {
	var view struct {
		Tasks map[string]int `json:"tasks"`
	}
	err := p.read("/cluster", &view)
	return view.Tasks, err
}

// members returns the cluster as the node sees it, by the nodes' names.
func (p *process) members() (map[string]client.Member, error) {
	var view client.Cluster
	if err := p.read("/cluster", &view); err != nil {
		return nil, err
	}
	members := map[string]client.Member{}
	for _, m := range view.Nodes {
		members[m.Name] = m
	}
	return members, nil
}

// atOnce runs a function for each number below n and waits for all.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// since fails the test if something took too long.
func since(t *testing.T, start time.Time, limit time.Duration, what string) {
	t.Helper()
	if took := time.Since(start); took > limit {
		t.Errorf("%s took %s, want at most %s", what, took.Round(time.Millisecond), limit)
	}
}

func jsonInto(a answer, into any) error { return json.Unmarshal(a.body, into) }
