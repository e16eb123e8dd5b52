package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// ended is a finished task with every option.
func ended(status fsm.Status) *fsm.Task {
	key := fsm.Key{15: 9}
	return &fsm.Task{
		Key: key[:], Name: "mine", Type: "test.main.hypot", Args: []byte(`{"x":3,"y":4.0}`), Status: status, Priority: 8, TimeoutMs: 1500,
		Tags: []string{"a", "b"}, Where: "zone=eu", Retry: newRetry(4), Release: "0.1+old", Attempt: 4, DueMs: 17, Owner: "bob",
	}
}

// TestRetry: a finished task is submitted as it was, by whoever asks, under a new id, on the current release.
func TestRetry(t *testing.T) {
	for _, status := range []fsm.Status{fsm.Status_SUCCESS, fsm.Status_FAILURE, fsm.Status_REVOKED} {
		s := newSetup(func(o *Options) { o.Catalog.(*fakeCatalog).release = "0.2+new" })
		s.tasks.tasks["mine"] = ended(status)
		w := s.do("POST", "/task/mine/retry", "")
		wantStatus(t, w, 200)
		n := s.tasks.last(t)
		a := decode(t, w)
		if a.ID != fsm.Key(n.Key).String() || a.Type != "test.main.hypot" || a.Status != "PENDING" || w.Header().Get("Location") != "/task/"+a.ID {
			t.Errorf("%s: got %+v and %v", status, a, w.Header())
		}
		want := &fsm.New{Key: n.Key, Type: "test.main.hypot", Args: []byte(`{"x":3,"y":4.0}`), Priority: 8, TimeoutMs: 1500,
			Tags: []string{"a", "b"}, Where: "zone=eu", Retry: newRetry(4), Release: "0.2+new"}
		if !proto.Equal(n, want) {
			t.Errorf("%s: submitted %v, want %v", status, n, want)
		}
	}
}

// TestRetryKey: an Idempotency-Key stands for the task that is tried anew.
func TestRetryKey(t *testing.T) {
	s := newSetup()
	s.tasks.tasks["mine"], s.tasks.tasks["other"] = ended(fsm.Status_FAILURE), ended(fsm.Status_FAILURE)
	for _, path := range []string{"/task/mine/retry", "/task/mine/retry?wait=0s", "/task/other/retry"} {
		wantStatus(t, s.do("POST", path, "", "Idempotency-Key", "k"), 200)
	}
	hash := func(i int) string { return string(s.tasks.submits[i].BodyHash) }
	if s.tasks.submits[0].IdempotencyKey != "k" || hash(0) != hash(1) || hash(0) == hash(2) {
		t.Errorf("the key stands for %x, %x and %x", hash(0), hash(1), hash(2))
	}
}

func TestRetryWaits(t *testing.T) {
	s := newSetup()
	s.tasks.tasks["mine"] = ended(fsm.Status_FAILURE)
	s.tasks.wait = func(_ context.Context, id string) (*fsm.Task, error) {
		if id != fsm.Key(s.tasks.last(t).Key).String() {
			t.Errorf("waits for %s", id)
		}
		return &fsm.Task{Name: id, Status: fsm.Status_SUCCESS, Result: []byte("5.0"), Args: []byte("{}")}, nil
	}
	w := s.do("POST", "/task/mine/retry?wait=5s", "")
	wantStatus(t, w, 200)
	if a := decode(t, w); string(a.Result) != "5.0" {
		t.Errorf("got %s", w.Body)
	}
}

// TestRetryLarge: args that are a blob are read, checked and submitted.
func TestRetryLarge(t *testing.T) {
	s := newSetup(func(o *Options) { o.MaxArgs = 100 })
	texts := map[byte]string{'a': `{"x":3,"y":4}`, 'b': `{"x":3,"y":"four"}`, 'c': "{" + strings.Repeat(" ", 100) + "}"}
	open := s.blobs(texts)
	for first, status := range map[byte]int{'a': 200, 'b': 422, 'c': 413, 'd': 503} {
		task := ended(fsm.Status_FAILURE)
		task.Args, task.ArgsBlob = nil, named(first, texts[first])
		s.tasks.tasks["mine"] = task
		before := len(s.tasks.submits)
		w := s.do("POST", "/task/mine/retry", "")
		wantStatus(t, w, status)
		if status != 200 {
			if len(s.tasks.submits) != before {
				t.Errorf("%c: it was submitted", first)
			}
			continue
		}
		if n := s.tasks.last(t); string(n.Args) != texts['a'] || n.ArgsBlob != nil {
			t.Errorf("submitted %v", n)
		}
	}
	if open() != 0 {
		t.Errorf("%d blobs were not closed", open())
	}
}

// TestRetryRefused: what is not finished, not there, or would not be taken by POST /task either.
func TestRetryRefused(t *testing.T) {
	s := newSetup()
	change := func(f func(*fsm.Task)) *fsm.Task { t := ended(fsm.Status_FAILURE); f(t); return t }
	s.tasks.tasks = map[string]*fsm.Task{
		"ends":      ended(fsm.Status_STARTED),
		"runs":      ended(fsm.Status_STARTED),
		"gone-type": change(func(t *fsm.Task) { t.Type = "test.main.gone" }),
		"args":      change(func(t *fsm.Task) { t.Args = []byte(`{"x":1,"z":2}`) }),
		"secret":    change(func(t *fsm.Task) { t.Type, t.Args = "test.main.secret", []byte(`{"x":1}`) }),
	}
	reads := 0
	s.tasks.task = func(_ context.Context, id string) (*fsm.Task, error) {
		switch reads++; {
		case id == "ends" && s.tasks.how == Linearizable: // this node had not heard of it
			return ended(fsm.Status_SUCCESS), nil
		case id == "away" && s.tasks.how == Linearizable:
			return nil, fsm.ErrNoLeader
		case id == "away":
			return ended(fsm.Status_STARTED), nil
		case s.tasks.tasks[id] == nil:
			return nil, fsm.ErrNotFound
		}
		return s.tasks.tasks[id], nil
	}
	for id, want := range map[string]struct {
		status int
		code   string
		text   string
	}{
		"ends":        {200, "", ""},
		"runs":        {409, "unfinished", "it is STARTED: cancel it"},
		"away":        {503, "no_leader", "no leader"},
		"none":        {404, "not_found", "no task"},
		"gone-type":   {404, "unknown_type", "test.main.gone"},
		"args":        {422, "invalid_task", ""},
		"secret":      {401, "token_missing", ""},
		"runs?wait=x": {400, "bad_request", "wait must be"},
	} {
		before := len(s.tasks.submits)
		path, query, _ := strings.Cut(id, "?")
		w := s.do("POST", "/task/"+path+"/retry?"+query, "")
		if w.Code != want.status {
			t.Errorf("%s: got %d %s, want %d", id, w.Code, w.Body, want.status)
			continue
		}
		if a := decode(t, w); a.Code != want.code || !strings.Contains(a.Message, want.text) {
			t.Errorf("%s: got %s", id, w.Body)
		}
		if queued := len(s.tasks.submits) - before; (queued == 1) != (want.status == 200) {
			t.Errorf("%s: %d tasks were queued", id, queued)
		}
	}
}

// TestRetryRights: they are those of a submission, by whoever may see the task.
func TestRetryRights(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousNone })
	s.tasks.tasks["bobs"] = ended(fsm.Status_FAILURE)
	secret := ended(fsm.Status_FAILURE)
	secret.Type, secret.Args = "test.main.secret", []byte(`{"x":1}`)
	s.tasks.tasks["secret"] = secret
	var actor string
	s.tasks.submit = func(ctx context.Context, sub *fsm.Submit) (*fsm.Outcome, error) {
		actor = fsm.ActorOf(ctx).Sub
		return &fsm.Outcome{Ids: idsOf(sub.Tasks), Status: fsm.Status_PENDING}, nil
	}
	tokens := map[string]string{
		"":      "",
		"eve":   s.people.add(t, "eve", []string{auth.TasksRead}, nil),
		"ann":   s.people.add(t, "ann", []string{auth.TasksWrite}, nil),
		"bob":   s.people.add(t, "bob", []string{auth.TasksWrite}, nil),
		"cyd":   s.people.add(t, "cyd", []string{auth.TasksRead, auth.TasksWrite}, []string{"test.*"}),
		"wrong": "Bearer nonsense",
	}
	for _, c := range []struct {
		who, id string
		status  int
	}{
		{"", "bobs", 401}, {"wrong", "bobs", 401},
		{"eve", "bobs", 403}, // sees it, may not submit
		{"ann", "bobs", 404}, // may submit, does not see it
		{"bob", "bobs", 200}, {"cyd", "bobs", 200},
		{"bob", "secret", 403}, {"cyd", "secret", 200},
	} {
		actor = ""
		w := s.do("POST", "/task/"+c.id+"/retry", "", "Authorization", tokens[c.who])
		if w.Code != c.status {
			t.Errorf("%s by %q: got %d %s, want %d", c.id, c.who, w.Code, w.Body, c.status)
		}
		if want := map[bool]string{true: c.who}[c.status == 200]; actor != want {
			t.Errorf("%s by %q: submitted by %q, want %q", c.id, c.who, actor, want)
		}
	}
	// A token that is not believed is not taken for nobody's.
	s = newSetup()
	s.tasks.tasks["mine"] = ended(fsm.Status_FAILURE)
	wantStatus(t, s.do("POST", "/task/mine/retry", "", "Authorization", "Bearer nonsense"), http.StatusUnauthorized)
}

// TestRetryBusy: large args wait for room, and give it back.
func TestRetryBusy(t *testing.T) {
	s := newSetup(func(o *Options) { o.MaxBody, o.MaxLargeBodies, o.MaxArgs = 1000, 1000, 1000 })
	s.blobs(map[byte]string{'a': `{"x":3,"y":4}` + strings.Repeat(" ", 700)})
	task := ended(fsm.Status_FAILURE)
	task.Args, task.ArgsBlob = nil, named('a', `{"x":3,"y":4}`+strings.Repeat(" ", 700))
	s.tasks.tasks["mine"] = task
	s.tasks.submit = func(context.Context, *fsm.Submit) (*fsm.Outcome, error) { return nil, errors.New("fails") }
	for range 3 { // the room of one is all there is
		wantStatus(t, s.do("POST", "/task/mine/retry", ""), 500)
	}
}
