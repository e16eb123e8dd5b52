package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pytasks/fsm"
)

func TestTypes(t *testing.T) {
	w := newSetup().do("GET", "/tasks", "")
	wantStatus(t, w, 200)
	const want = `{"test.main.add":{"require_authorization":false,"args":{"x":"<class 'int'>","y":"<class 'int'>"}},` +
		`"test.main.echo":{"require_authorization":false,"args":{"value":"typing.Any"}},` +
		`"test.main.hypot":{"require_authorization":false,"args":{"x":"<class 'float'>","y":"<class 'float'>"}},` +
		`"test.main.none":{"require_authorization":false,"args":{}},` +
		`"test.main.secret":{"require_authorization":true,"args":{"x":"<class 'int'>"}}}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestPing(t *testing.T) {
	if got := newSetup().do("GET", "/ping", "").Body.String(); got != `{"status":"online"}`+"\n" {
		t.Errorf("got %s", got)
	}
}

func TestStartPage(t *testing.T) {
	s := newSetup(func(o *Options) { o.Version = "<1>" })
	w := s.do("GET", "/", "")
	wantStatus(t, w, 200)
	page := w.Body.String()
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(page, "<title>pytasks API</title>") || !strings.Contains(page, "&lt;1&gt;") {
		t.Errorf("page: %s", page)
	}
	for _, outside := range []string{"src=", "<link", "<script", "https://"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page holds %q: it must stand alone", outside)
		}
	}
}

func TestCluster(t *testing.T) {
	s := newSetup()
	w := s.do("GET", "/cluster", "")
	wantStatus(t, w, 200)
	if body := w.Body.String(); !strings.Contains(body, `"leader":null`) || !strings.Contains(body, `"nodes":[]`) {
		t.Errorf("without a leader: %s", body)
	}

	s.cluster.status = ClusterStatus{ID: "c", Node: "ada", Leader: "bob", Term: 3, CommitIndex: 9, AppliedIndex: 8, Nodes: []NodeStatus{
		{Name: "ada", ID: "1", Status: "alive", Role: "voter", Slots: 2, Running: 1, Packs: []string{"test 1.0"}, HTTP: "http://127.0.0.1:8080"},
		{Name: "bob", ID: "2", Status: "alive", Role: "voter", Leader: true},
	}}
	var got struct {
		Leader       string
		Term         uint64
		CommitIndex  uint64 `json:"commit_index"`
		AppliedIndex uint64 `json:"applied_index"`
		Nodes        []NodeStatus
		Tasks        map[string]int
	}
	if err := json.Unmarshal(s.do("GET", "/cluster", "").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Leader != "bob" || got.Term != 3 || got.CommitIndex != 9 || got.AppliedIndex != 8 || len(got.Nodes) != 2 || got.Tasks["SUCCESS"] != 7 {
		t.Errorf("cluster: %+v", got)
	}
	var nodes struct{ Nodes []NodeStatus }
	if err := json.Unmarshal(s.do("GET", "/nodes", "").Body.Bytes(), &nodes); err != nil {
		t.Fatal(err)
	}
	if len(nodes.Nodes) != 2 || nodes.Nodes[0].Name != "ada" || nodes.Nodes[0].Slots != 2 || !nodes.Nodes[1].Leader {
		t.Errorf("nodes: %+v", nodes)
	}
}

// coded is an error of another package of the node.
type coded struct{ code, text string }

func (e coded) Error() string { return e.text }
func (e coded) Code() string  { return e.code }

func TestRemoveNode(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		err    error
		status int
		says   string
	}{
		{nil, 200, ""},
		{fsm.ErrNotFound, 404, "no node has the name or id ada"},
		{coded{"unknown_member", "x"}, 404, "no node has the name or id ada"},
		{coded{"unsafe", "this would lose the majority"}, 409, "this would lose the majority"},
		{coded{"unreachable", "x"}, 503, "no leader"},
		{coded{"outcome_unknown", "x"}, 503, "ask GET /nodes"},
		{errors.New("inner matters"), 500, "Internal Server Error"},
	} {
		s.cluster.remove = func(_ context.Context, name string) error {
			if name != "ada" {
				t.Errorf("removes %q", name)
			}
			return tt.err
		}
		w := s.local("DELETE", "/nodes/ada", "", "")
		wantStatus(t, w, tt.status)
		if a := decode(t, w); !strings.Contains(a.Message, tt.says) || tt.err == nil && a.Status != "removed" {
			t.Errorf("%v: %s", tt.err, w.Body)
		}
		if got := w.Header().Get("Retry-After") != ""; got != (tt.status == 503) {
			t.Errorf("%v: Retry-After is %v", tt.err, got)
		}
	}
}

func TestHealth(t *testing.T) {
	s := newSetup()
	if w := s.do("GET", "/livez", ""); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("livez: %d %q", w.Code, w.Body)
	}
	s.cluster.checks = []Check{{Name: "leader", OK: true}, {Name: "store", OK: true}}
	if w := s.do("GET", "/readyz", ""); w.Code != 200 || w.Body.String() != "[+]leader ok\n[+]store ok\n" {
		t.Errorf("readyz: %d %q", w.Code, w.Body)
	}
	s.cluster.checks[1].Detail = "it is nearly full"
	if w := s.do("GET", "/readyz", ""); w.Code != 200 || w.Body.String() != "[+]leader ok\n[+]store ok, but it is nearly full\n" {
		t.Errorf("readyz: %d %q", w.Code, w.Body)
	}
	s.cluster.checks[1].Detail = ""
	s.cluster.checks[0] = Check{Name: "leader", Detail: "none is known"}
	if w := s.do("GET", "/readyz", ""); w.Code != 503 || w.Body.String() != "[-]leader failed: none is known\n[+]store ok\n" {
		t.Errorf("readyz: %d %q", w.Code, w.Body)
	}
}
