package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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

func TestDrainNode(t *testing.T) {
	s := newSetup()
	var got string
	var fails error
	s.cluster.drain = func(name string, timeout time.Duration, force bool) error {
		got = fmt.Sprint("drain ", name, " ", timeout, " ", force)
		return fails
	}
	s.cluster.resume = func(name string) error { got = "resume " + name; return fails }
	s.cluster.step = func() (string, error) { got = "step down"; return "bob", fails }
	for _, tt := range []struct {
		method, target string
		err            error
		status         int
		did, says      string
	}{
		{"POST", "/nodes/ada/drain", nil, 200, "drain ada 0s false", `{"name":"ada","status":"draining"}`},
		{"POST", "/nodes/ada/drain?timeout=90&force=true", nil, 200, "drain ada 1m30s true", ""},
		{"POST", "/nodes/ada/drain?timeout=0s", nil, 200, "drain ada 1ms false", ""},
		{"POST", "/nodes/ada/drain?timeout=soon", nil, 400, "", "such as 30s"},
		{"POST", "/nodes/ada/drain?timeout=-1s", nil, 400, "", "such as 30s"},
		{"POST", "/nodes/ada/drain?force=maybe", nil, 400, "", "true or false"},
		{"POST", "/nodes/ada/drain", fsm.ErrNotFound, 404, "drain ada 0s false", "no node has the name or id ada"},
		{"POST", "/nodes/ada/drain", fsm.ErrLastNode, 409, "drain ada 0s false", `"code":"last_node"`},
		{"POST", "/nodes/ada/drain", fsm.ErrNoLeader, 503, "drain ada 0s false", "no leader"},
		{"DELETE", "/nodes/ada/drain", nil, 200, "resume ada", `{"name":"ada","status":"resumed"}`},
		{"DELETE", "/nodes/ada/drain", fsm.ErrUnknown, 503, "resume ada", "ask GET /nodes"},
		{"POST", "/cluster/stepdown", nil, 200, "step down", `{"leader":"bob"}`},
		{"POST", "/cluster/stepdown", coded{"no_successor", "no other voting node"}, 409, "step down", "no other voting node"},
		{"POST", "/cluster/stepdown", context.DeadlineExceeded, 503, "step down", "ask GET /nodes"},
	} {
		got, fails = "", tt.err
		w := s.local(tt.method, tt.target, "", "")
		if w.Code != tt.status || got != tt.did || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %s with %v: did %q, answered %d %s; want %q, %d, %q", tt.method, tt.target, tt.err, got, w.Code, w.Body, tt.did, tt.status, tt.says)
		}
		got = ""
		if w := s.do(tt.method, tt.target, ""); w.Code != 401 || got != "" {
			t.Errorf("%s %s of nobody: did %q, answered %d", tt.method, tt.target, got, w.Code)
		}
	}
}

func TestLabelNode(t *testing.T) {
	s := newSetup()
	var got string
	var fails error
	s.cluster.label = func(name string, labels map[string]*string, forget bool) error {
		got = fmt.Sprint(name, " ", forget)
		for _, key := range slices.Sorted(maps.Keys(labels)) {
			if got += " " + key; labels[key] != nil {
				got += "=" + *labels[key]
			}
		}
		return fails
	}
	for _, tt := range []struct {
		target, body string
		err          error
		status       int
		did, says    string
	}{
		{"/nodes/ada/labels", `{"zone":"eu","gpu":null}`, nil, 200, "ada false gpu zone=eu", `"status":"labelled"`},
		{"/nodes/ada/labels?forget=true", `{}`, nil, 200, "ada true", ""},
		{"/nodes/ada/labels", `{}`, nil, 422, "", "write labels as"},
		{"/nodes/ada/labels", `{"zone":1}`, nil, 422, "", `got \"zone\"`},
		{"/nodes/ada/labels", `{"zo ne":"eu"}`, nil, 422, "", "zo ne"},
		{"/nodes/ada/labels", `{"zone":""}`, nil, 422, "", "zone"},
		{"/nodes/ada/labels", `[]`, nil, 400, "", "Labels of the node"},
		{"/nodes/ada/labels?forget=so", `{}`, nil, 400, "", "true or false"},
		{"/nodes/ada/labels", `{"a":"b"}`, fsm.ErrMisfit, 422, "ada false a=b", "at most 32 labels"},
		{"/nodes/ada/labels", `{"a":"b"}`, fsm.ErrNotFound, 404, "ada false a=b", "no node has the name"},
	} {
		got, fails = "", tt.err
		w := s.local("POST", tt.target, "application/json", tt.body)
		if w.Code != tt.status || got != tt.did || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %s: did %q, answered %d %s; want %q, %d, %q", tt.target, tt.body, got, w.Code, w.Body, tt.did, tt.status, tt.says)
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
