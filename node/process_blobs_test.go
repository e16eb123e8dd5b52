package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
	"pytasks/node/config"
	"pytasks/taskpacks/test"
)

// largeText returns so many bytes of JSON text that do not pack well, other ones for each seed.
func largeText(seed uint64, size int) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = 'A' + byte(rng.IntN(26))
	}
	b[0], b[size-1] = '"', '"'
	return string(b)
}

// echoArgs is what echo is called with, of so many bytes.
func echoArgs(seed uint64, size int) string {
	const around = `{"value":}`
	return `{"value":` + largeText(seed, size-len(around)) + `}`
}

// echo queues a task that returns its value.
func (p *process) echo(args string, options ...string) (id string) {
	p.t.Helper()
	return p.submit(fmt.Sprintf(`{"type":"test.main.echo","args":%s%s}`, args, strings.Join(options, "")))
}

// echoed checks that a task has returned its arguments, at these nodes.
func (ps processes) echoed(id, args string) {
	ps[0].t.Helper()
	for _, p := range ps {
		task := p.succeeded(id, 30*time.Second)
		if string(task.Args) != args || `{"value":`+string(task.Result)+`}` != args {
			p.t.Fatalf("%s: the task has %d bytes of args and %d of result, or other ones than the %d sent", p.name, len(task.Args), len(task.Result), len(args))
		}
	}
}

// blobFile is the file that text is kept in at a node.
func (p *process) blobFile(text string) string {
	sum := sha256.Sum256([]byte(text))
	return filepath.Join(p.dir, "data", "blobs", hex.EncodeToString(sum[:]))
}

// holds waits until a node has text, whole, on its disk.
func (p *process) holds(text string, within time.Duration) {
	p.t.Helper()
	eventually(p.t, within, p.name+" has the blob", func() error {
		got, err := os.ReadFile(p.blobFile(text))
		if err == nil && string(got) != text {
			err = fmt.Errorf("it has %d other bytes", len(got))
		}
		return err
	})
}

// TestProcessBlobs: arguments and results of any size go in at one node and come out at another as
// they were, whatever happens to one disk; above the limit they are refused.
func TestProcessBlobs(t *testing.T) {
	ps := startCluster(t, 3, "--max-args", "6MiB", "--max-result", "5MiB")
	t.Run("five megabytes", func(t *testing.T) {
		ps.within(t)
		args := echoArgs(1, 5<<20)
		ps.echoed(ps[1].echo(args), args)
		a := ps[2].must(http.StatusOK, http.MethodPost, "/task?wait=20s", `{"type":"test.main.echo","args":`+args+`}`)
		if !bytes.Contains(a.body, []byte(`"args":`+args)) || a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
			t.Errorf("the answer has %d bytes, announced as %s, and not the arguments", len(a.body), a.header.Get("Content-Length"))
		}
		for _, p := range ps {
			p.holds(args, 10*time.Second)
		}
	})
	t.Run("the edge", func(t *testing.T) {
		ps.within(t)
		const around = len(`{"value":}`)
		for i, tt := range []struct {
			args               int
			argsBlob, resultIs bool
		}{{maxInline, false, false}, {maxInline + 1, true, false}, {maxInline + around, true, false}, {maxInline + around + 1, true, true}} {
			args := echoArgs(uint64(10+i), tt.args)
			ps[:2].echoed(ps[i%3].echo(args), args)
			result := strings.TrimSuffix(strings.TrimPrefix(args, `{"value":`), `}`)
			for text, want := range map[string]bool{args: tt.argsBlob, result: tt.resultIs} {
				there := false
				for _, p := range ps {
					_, err := os.Stat(p.blobFile(text))
					there = there || err == nil
				}
				if there != want {
					t.Errorf("%d bytes are a blob: %v, want %v", len(text), there, want)
				}
			}
		}
	})
	t.Run("a flipped byte", func(t *testing.T) {
		ps.within(t)
		args := echoArgs(20, 3<<20)
		id := ps[0].echo(args)
		ps.echoed(id, args)
		ps[2].holds(args, 10*time.Second)
		file := ps[2].blobFile(args)
		damaged := []byte(args)
		damaged[1<<20] ^= 4
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		ps[2:].echoed(id, args)
		ps[2].holds(args, time.Second)
		for _, p := range ps {
			if err := os.Remove(p.blobFile(args)); err != nil {
				t.Fatal(err)
			}
		}
		a := ps[1].must(http.StatusServiceUnavailable, http.MethodGet, "/task/"+id, "")
		if a.code() != fsm.ErrNoBlob.Code() || a.header.Get("Retry-After") == "" {
			t.Errorf("what no node has any more: %v", a)
		}
	})
	t.Run("too large", func(t *testing.T) {
		ps.within(t)
		a := ps[0].must(http.StatusRequestEntityTooLarge, http.MethodPost, "/task", `{"type":"test.main.echo","args":`+echoArgs(30, 6<<20+1)+`}`)
		if a.code() != "too_large" || !bytes.Contains(a.body, []byte("the limit is 6291456")) {
			t.Errorf("args above the limit: %v", a)
		}
		task := ps[0].finished(ps[0].echo(echoArgs(31, 6<<20)), 20*time.Second)
		if task.Status != "FAILURE" || !strings.Contains(string(task.Raw[len(task.Raw)-2000:]), "the result is larger than 5242880 bytes (--max-result)") {
			t.Errorf("a result above the limit: %s", task.Status)
		}
		one := `{"type":"test.main.echo","args":` + echoArgs(32, maxInline) + `},`
		a = ps[0].must(http.StatusRequestEntityTooLarge, http.MethodPost, "/tasks/batch", `{"tasks":[`+strings.TrimSuffix(strings.Repeat(one, 400), ",")+`]}`)
		if a.code() != "too_large" || !bytes.Contains(a.body, []byte("the limit is 24 MiB: send it in parts")) {
			t.Errorf("a batch that is too large for the log: %v", a)
		}
	})
	t.Run("a batch of large and small", func(t *testing.T) {
		ps.within(t)
		var tasks, all []string
		for i := range 24 {
			all = append(all, echoArgs(uint64(40+i), 100+i%2*(1<<20)))
			tasks = append(tasks, `{"type":"test.main.echo","args":`+all[i]+`}`)
		}
		var queued struct{ IDs []string }
		a := ps[1].must(http.StatusOK, http.MethodPost, "/tasks/batch", `{"tasks":[`+strings.Join(tasks, ",")+`]}`)
		if err := json.Unmarshal(a.body, &queued); err != nil || len(queued.IDs) != len(all) {
			t.Fatalf("%d ids of %d tasks, %v", len(queued.IDs), len(all), err)
		}
		for i, id := range queued.IDs {
			ps[2:].echoed(id, all[i])
		}
	})
	t.Run("in another process", func(t *testing.T) {
		needPython(t)
		ps.within(t)
		ps[0].tools("pack", "install", filepath.Join("testdata", "packs", "modern"))
		ps.packReady("modern", 3)
		note := largeText(50, 4<<20)
		want := `{"x":2.0,"y":0.0,"unit":"m","note":` + note + `}`
		if task := ps[1].call("modern.main.scale", `{"point":{"x":1},"note":`+note+`}`); string(task.Result) != want {
			t.Errorf("it ended as %s with %d bytes, want %d", task.Status, len(task.Result), len(want))
		}
	})
}

// TestProcessBlobsKilled: the node that took large arguments is killed as soon as it has answered, and
// later all nodes: the tasks run, with the arguments that were sent, and their results stay.
func TestProcessBlobsKilled(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "2")
	for round := range 3 {
		p := ps[round]
		args := echoArgs(uint64(round), 2<<20)
		id := p.echo(args)
		p.kill()
		ps.up().echoed(id, args)
		p.start()
		ps.ready()
		ps.leader()
		processes{p}.echoed(id, args)
	}
	waiting, args := "", echoArgs(9, 1<<20)
	eventually(t, 10*time.Second, "a task is queued for later", func() error {
		a, err := send(ps[1], http.MethodPost, "/task", `{"type":"test.main.echo","delay":3,"args":`+args+`}`)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%v", a)
		}
		waiting = member(a.body, "id")
		return err
	})
	for _, p := range ps {
		p.kill()
	}
	for _, p := range ps {
		p.start()
	}
	ps.ready()
	ps.echoed(waiting, args)
}

// TestProcessBlobsNewNodes: nodes that come to vote get every blob that tasks refer to, after a
// snapshot too.
func TestProcessBlobsNewNodes(t *testing.T) {
	ps := startCluster(t, 3)
	var all, ids []string
	for i := range 6 {
		all = append(all, echoArgs(uint64(i), 300<<10))
		ids = append(ids, ps[i%3].echo(all[i]))
	}
	for i, id := range ids {
		ps.echoed(id, all[i])
	}
	later := processes{newProcess(t, "n4", ps.joinFlags()...), newProcess(t, "n5", ps.joinFlags()...)}
	for _, p := range later {
		p.start()
	}
	later.ready()
	for _, p := range later {
		for _, args := range all {
			p.holds(args, 30*time.Second)
			p.holds(strings.TrimSuffix(strings.TrimPrefix(args, `{"value":`), `}`), 30*time.Second)
		}
	}
	ps[0].kill()
	ps[1].kill()
	append(later, ps[2]).leader()
	for i, id := range ids {
		later.echoed(id, all[i])
	}
}

// TestBlobsPurged: what is forgotten is collected.
func TestBlobsPurged(t *testing.T) {
	cfg := config.Default()
	cfg.Name, cfg.DataDir, cfg.LogLevel = "lone", t.TempDir(), "error"
	cfg.HTTP, cfg.Gossip, cfg.Cluster = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.MaxFinished, cfg.DrainTimeout = 1, 0
	n, err := New(t.Context(), cfg, test.Pack)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	p := &process{t: t, name: "lone", dir: filepath.Dir(cfg.DataDir), http: n.URL()}
	args := echoArgs(1, 200<<10)
	var id string
	eventually(t, 10*time.Second, "the task is queued", func() error {
		a, err := send(p, http.MethodPost, "/task?wait=5s", `{"type":"test.main.echo","args":`+args+`}`)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%v", a)
		}
		id = member(a.body, "id")
		return err
	})
	processes{p}.echoed(id, args)
	if list, err := n.blobs.Store.List(); err != nil || len(list) != 2 {
		t.Errorf("there are the blobs %v, %v; want those of the arguments and of the result", list, err)
	}
	for range 2 * idleLooks {
		n.blobs.look(t.Context())
	}
	processes{p}.echoed(id, args)
	p.must(http.StatusOK, http.MethodPost, "/task?wait=20s", sleepFor(0)) // one more than is kept
	eventually(t, 20*time.Second, "the task is forgotten", func() error {
		a, err := send(p, http.MethodGet, "/task/"+id, "")
		if err == nil && a.status != http.StatusNotFound {
			err = fmt.Errorf("%d", a.status)
		}
		return err
	})
	for range idleLooks {
		n.blobs.look(t.Context())
	}
	if list, err := n.blobs.Store.List(); err != nil || len(list) != 0 {
		t.Errorf("there are %v, %v; want both collected", list, err)
	}
}
