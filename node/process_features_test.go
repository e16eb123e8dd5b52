package node

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pytasks/node/client"
)

// TestProcessFeatures: what a task may ask for, over three nodes.
func TestProcessFeatures(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "4", "--max-args", "1MiB")
	ps.workersReady()
	for name, story := range map[string]func(*testing.T, processes){
		"retry until exhausted": retryStory, "timeout": timeoutStory, "delay and eta": delayStory,
		"cancel": cancelStory, "idempotency key": idempotencyStory, "id": idStory, "wait": waitStory,
		"batch": batchStory, "list": listStory, "known everywhere at once": missStory, "refusals": refusalStory,
	} {
		t.Run(name, func(t *testing.T) {
			ps.within(t)
			story(t, ps)
		})
	}
}

func retryStory(t *testing.T, ps processes) {
	id := ps[0].submit(`{"type":"test.main.fail","args":{"message":"no luck"},"retry":{"max_attempts":3,"initial":"200ms","factor":2,"jitter":0}}`)
	task := ps[1].finished(id, 10*time.Second)
	if task.Status != "FAILURE" || task.Reason != "error" || task.Attempt != 3 || len(task.Attempts) != 2 || task.Error == nil || task.Error.Message != "no luck" {
		t.Fatalf("got %s, want FAILURE after 3 attempts", task.Raw)
	}
	starts := []string{task.Attempts[0].EndedAt, task.Attempts[1].StartedAt, task.Attempts[1].EndedAt, task.StartedAt}
	for i, want := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond} {
		if got := between(t, starts[2*i], starts[2*i+1]); got < want || got > want+2*time.Second {
			t.Errorf("retry %d came after %s, want %s", i+1, got, want)
		}
		if task.Attempts[i].Reason != "error" || task.Attempts[i].Message != "no luck" {
			t.Errorf("attempt %d: %+v, want the error", i+1, task.Attempts[i])
		}
	}
	if task.Attempts[0].Node == task.Attempts[1].Node {
		t.Errorf("attempts 1 and 2 both ran on %s, want another node", task.Attempts[0].Node)
	}
}

func timeoutStory(t *testing.T, ps processes) {
	task := ps[2].finished(ps[1].submit(sleepFor(20*time.Second, `"timeout":"300ms"`)), 10*time.Second)
	if task.Status != "FAILURE" || task.Reason != "timeout" || task.Error == nil || task.Error.Type != "Timeout" {
		t.Errorf("got %+v, want FAILURE for the timeout", task)
	}
	if ran := between(t, task.StartedAt, task.FinishedAt); ran > 5*time.Second {
		t.Errorf("it ran for %s, want 300ms", ran)
	}
}

// delayStory: delayed tasks run once, at their time, also if the leader is killed in
// between.
func delayStory(t *testing.T, ps processes) {
	const delay = 4 * time.Second
	at := time.Now().Add(delay).UTC().Format(time.RFC3339Nano)
	bodies := append(repeat(sleepFor(0, `"delay":"4s"`), 30), repeat(sleepFor(0, `"eta":"`+at+`"`), 30)...)
	ids := ps.submitAll(bodies, 10)
	for _, id := range ids {
		if task, err := ps[0].task(id); err != nil || task.Status != "SCHEDULED" || task.DueAt == "" {
			t.Fatalf("got %+v, %v, want it SCHEDULED with due_at", task, err)
		}
	}
	leader := ps.leader()
	leader.kill()
	leader.start()
	for _, id := range ids {
		task := ps.without(leader)[0].succeeded(id, 20*time.Second)
		if early := between(t, task.StartedAt, task.DueAt); task.Attempt != 1 || early > 0 {
			t.Errorf("task %s ran in attempt %d, %s before it was due", id, task.Attempt, early)
		}
	}
	ps.ready()
	ps.leader()
	ps.workersReady()
}

func cancelStory(t *testing.T, ps processes) {
	cancel := func(p *process, id string, want int) string {
		t.Helper()
		return member(p.must(want, http.MethodPost, "/task/"+id+"/cancel", "").body, "status")
	}
	waits := ps[0].submit(sleepFor(0, `"delay":3600`))
	runs := ps[0].submit(sleepFor(3600 * time.Second))
	done := ps[0].submit(sleepFor(0))
	running := ps[0].started(runs)
	ps[0].succeeded(done, 5*time.Second)
	if got := cancel(ps[1], waits, http.StatusOK); got != "REVOKED" {
		t.Errorf("a scheduled task: got %s, want REVOKED", got)
	}
	if got := cancel(ps[2], runs, http.StatusOK); got != "REVOKED" {
		t.Errorf("a running task: got %s, want REVOKED", got)
	}
	if got := cancel(ps[2], runs, http.StatusOK); got != "REVOKED" {
		t.Errorf("a second time: got %s, want REVOKED", got)
	}
	if got := cancel(ps[1], done, http.StatusConflict); got != "SUCCESS" {
		t.Errorf("a finished task: got %s, want SUCCESS", got)
	}
	cancel(ps[1], "nobody", http.StatusNotFound)
	for _, id := range []string{waits, runs} {
		if task := ps[0].finished(id, 5*time.Second); task.Status != "REVOKED" || string(task.Result) != "{}" {
			t.Errorf("got %s with result %s, want REVOKED without one", task.Status, task.Result)
		}
	}
	eventually(t, 5*time.Second, "the cancelled task's slot is free again", func() error {
		members, err := ps[0].members()
		if n := members[running.Node].Running; err == nil && n > 0 {
			err = fmt.Errorf("%s holds %d", running.Node, n)
		}
		return err
	})
	ps.workersReady()
}

func idempotencyStory(t *testing.T, ps processes) {
	body := (&sum{number: 5}).body()
	ids := make([]string, 12)
	atOnce(len(ids), func(i int) {
		a, err := send(ps[i%3], http.MethodPost, "/task", body, "Idempotency-Key", "once")
		if err != nil || a.status != http.StatusOK {
			t.Errorf("got %v %v, want 200", a, err)
		}
		ids[i] = member(a.body, "id")
	})
	if len(slices.Compact(slices.Clone(ids))) != 1 {
		t.Errorf("one key gave the ids %v, want one", ids)
	}
	other := (&sum{number: 6}).body()
	if a := ps[1].must(http.StatusUnprocessableEntity, http.MethodPost, "/task", other, "Idempotency-Key", "once"); a.code() != "key_reused" {
		t.Errorf("another body under the key: got %v", a)
	}
	ps[2].succeeded(ids[0], 5*time.Second)
}

func idStory(t *testing.T, ps processes) {
	body := `{"type":"test.main.add","args":{"x":1,"y":2},"id":"my.own:id-1"}`
	for _, p := range ps {
		if id := p.submit(body); id != "my.own:id-1" {
			t.Errorf("%s: got the id %s", p.name, id)
		}
	}
	if task := ps[1].succeeded("my.own:id-1", 5*time.Second); task.Attempt != 1 || string(task.Result) != "3" {
		t.Errorf("got %+v, want one attempt", task)
	}
	ps[2].must(http.StatusConflict, http.MethodPost, "/task", strings.Replace(body, `"y":2`, `"y":3`, 1))
}

func waitStory(t *testing.T, ps processes) {
	for _, p := range ps {
		for range 5 {
			start := time.Now()
			a := p.must(http.StatusOK, http.MethodPost, "/task?wait=10s", (&sum{number: 7}).body())
			since(t, start, 3*time.Second, "a wait for a sum at "+p.name)
			if got := member(a.body, "status"); got != "SUCCESS" {
				t.Errorf("%s: got %v, want the result", p.name, a)
			}
		}
		id := p.submit(sleepFor(1500 * time.Millisecond))
		for _, other := range ps { // one after the other: not yet, then finished
			other.must(http.StatusAccepted, http.MethodGet, "/task/"+id+"?wait=50ms", "")
		}
		atOnce(len(ps), func(i int) {
			a, err := send(ps[i], http.MethodGet, "/task/"+id+"?wait=10s", "")
			if err != nil || a.status != http.StatusOK || member(a.body, "status") != "SUCCESS" {
				t.Errorf("%s: got %v %v, want the result", ps[i].name, a, err)
			}
		})
	}
}

func batchStory(t *testing.T, ps processes) {
	const size = 2500
	var tasks []string
	for i := range size {
		tasks = append(tasks, (&sum{number: i}).body())
	}
	bad := slices.Insert(repeat(sleepFor(0, `"tags":["refused"]`), size), 1000, `{"type":"test.main.add","args":{"x":"one","y":2}}`)
	if a := ps[1].must(http.StatusUnprocessableEntity, http.MethodPost, "/tasks/batch", batchOf(bad)); !strings.Contains(string(a.body), `"task":1000`) {
		t.Errorf("got %v, want it to name task 1000", a)
	}
	var answer struct {
		IDs []string `json:"ids"`
	}
	a := ps[1].must(http.StatusOK, http.MethodPost, "/tasks/batch", batchOf(tasks))
	if err := jsonInto(a, &answer); err != nil || len(answer.IDs) != size {
		t.Fatalf("got %d ids (%v), want %d", len(answer.IDs), err, size)
	}
	for i, id := range answer.IDs {
		if task := ps[2].succeeded(id, 20*time.Second); string(task.Result) != fmt.Sprint(3*i) {
			t.Fatalf("task %d of the batch: got %s, want %d", i, task.Result, 3*i)
		}
	}
	for _, p := range ps {
		if a := p.must(http.StatusOK, http.MethodGet, "/task?tag=refused&consistency=linearizable", ""); strings.Contains(string(a.body), `"id"`) {
			t.Errorf("%s: got %v, want nothing of the refused batch", p.name, a)
		}
	}
}

func batchOf(tasks []string) string { return `{"tasks":[` + strings.Join(tasks, ",") + `]}` }

func listStory(t *testing.T, ps processes) {
	want := ps.submitAll(repeat(sleepFor(0, `"tags":["listed","x"]`), 47), 1)
	ps.allSucceed(want)
	slices.Reverse(want) // newest first
	for _, p := range ps {
		eventually(t, 10*time.Second, p.name+" lists them", func() error {
			var got []string
			for next, pages := "", 0; ; pages++ {
				var page struct {
					Items []client.Task `json:"items"`
					Next  string        `json:"next_cursor"`
				}
				if err := p.read("/task?status=SUCCESS&type=test.main.sleep&tag=listed&limit=10&cursor="+url.QueryEscape(next), &page); err != nil {
					return err
				}
				for _, item := range page.Items {
					got = append(got, item.ID)
				}
				if next = page.Next; next == "" || pages > 10 {
					break
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("got %d tasks %v, want %d, newest first", len(got), got, len(want))
			}
			return nil
		})
		p.must(http.StatusBadRequest, http.MethodGet, "/task?cursor=nonsense", "")
	}
}

// missStory: a task is known on every node as soon as it is acknowledged, and one that
// is unknown is unknown everywhere.
func missStory(t *testing.T, ps processes) {
	for i := range 60 {
		id := ps[i%3].submit(sleepFor(0, `"delay":3600`))
		ps[(i+1)%3].must(http.StatusOK, http.MethodGet, "/task/"+id, "")
		ps[(i+2)%3].must(http.StatusOK, http.MethodGet, "/task/"+id+"?consistency=linearizable", "")
	}
	for _, p := range ps {
		for _, how := range []string{"", "?consistency=stale", "?consistency=linearizable", "?wait=100ms"} {
			p.must(http.StatusNotFound, http.MethodGet, "/task/0190a0a0-0000-7000-8000-000000000000"+how, "")
		}
	}
}

func refusalStory(t *testing.T, ps processes) {
	large := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		body string
		want int
		part string
	}{
		{`{"type":"test.main.myProtectedTask","args":{"x":1,"y":2}}`, http.StatusUnauthorized, "Bearer"},
		{`{"type":"test.main.nothing","args":{}}`, http.StatusNotFound, "doesnt exist"},
		{`{"type":"test.main.add","args":{"x":1.5,"z":2}}`, http.StatusUnprocessableEntity, `"param":"y"`},
		{`{"type":"test.main.add","args":{"x":1,"y":2},"priority":10}`, http.StatusUnprocessableEntity, "0 to 9"},
		{`{"type":"test.main.echo","args":{"value":"` + large + `"}}`, http.StatusRequestEntityTooLarge, "limit"},
		{`{"type":"test.main.echo","args":{"value":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`, http.StatusBadRequest, "deep"},
		{`{"type":`, http.StatusBadRequest, "message"},
		{`{"args":{}}`, http.StatusBadRequest, "You need to inform type"},
	} {
		for _, p := range ps {
			if a := p.must(c.want, http.MethodPost, "/task", c.body); !strings.Contains(string(a.body), c.part) {
				t.Errorf("%s: %s: got %v, want %q in it", p.name, c.body, a, c.part)
			}
		}
	}
	exact := `{"a":[123456789012345678901234567890,1,1.0,1e2],"b":"\u00e9"}`
	if task := ps[1].succeeded(ps[0].submit(`{"type":"test.main.echo","args":{"value":`+exact+`}}`), 5*time.Second); string(task.Result) != exact {
		t.Errorf("got %s, want %s", task.Result, exact)
	}
}
