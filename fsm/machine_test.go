package fsm

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failer is what the helpers need of *testing.T, *testing.B and *rapid.T.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// machine is a state that is fed the way raft does it: with encoded entries.
type machine struct {
	t failer
	*State
	index   uint64 // of the last entry
	clock   int64  // the leader's, ms
	changes []Changes
}

// startClock is the time of a machine's first entry.
const startClock = 1_000_000

// newMachine opens a state in a new folder. It is closed when the test ends.
func newMachine(t testing.TB) *machine {
	t.Helper()
	m := openMachine(t, t.TempDir())
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

// openMachine opens the state in a folder, for the caller to close.
func openMachine(t failer, dir string) *machine {
	t.Helper()
	m := &machine{t: t, clock: startClock}
	m.State = mustOpen(t, Config{Dir: dir, Observe: func(c Changes) { m.changes = append(m.changes, c) }})
	m.index = m.Applied()
	return m
}

func mustOpen(t failer, cfg Config) *State {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("Open(%s): %v", cfg.Dir, err)
	}
	return s
}

// encoded returns a log entry as raft hands it out.
func encoded(t failer, index uint64, now int64, cmds ...*Command) *raft.Log {
	t.Helper()
	data, err := EncodeEntry(&Entry{NowMs: now, Commands: cmds})
	if err != nil {
		t.Fatalf("EncodeEntry: %v", err)
	}
	return &raft.Log{Index: index, Type: raft.LogCommand, Data: data}
}

// do applies commands as one entry, at the machine's clock.
func (m *machine) do(cmds ...*Command) []*Outcome {
	m.t.Helper()
	m.index++
	outs := m.FSM().Apply(encoded(m.t, m.index, m.clock, cmds...)).([]*Outcome)
	if len(outs) != len(cmds) {
		m.t.Fatalf("entry %d: %d outcomes of %d commands", m.index, len(outs), len(cmds))
	}
	return outs
}

// gives applies one command and checks the code of its outcome.
func (m *machine) gives(want Code, cmd *Command) *Outcome {
	m.t.Helper()
	out := m.do(cmd)[0]
	if out.Code != want {
		m.t.Fatalf("entry %d, %T: code %v, want %v", m.index, cmd.Kind, out.Code, want)
	}
	return out
}

// ok applies commands, each in an entry of its own, that must not be refused.
func (m *machine) ok(cmds ...*Command) {
	m.t.Helper()
	for _, c := range cmds {
		m.gives(Code_OK, c)
	}
}

// get returns the record of a task, which must be there.
func (m *machine) get(id string) *Task {
	m.t.Helper()
	t, err := m.Task(id)
	if err != nil {
		m.t.Fatalf("Task(%s): %v", id, err)
	}
	return t
}

// is checks the status and attempt of tasks.
func (m *machine) is(want Status, attempt uint32, keys ...Key) {
	m.t.Helper()
	for _, k := range keys {
		t, err := m.TaskByKey(k)
		if err != nil || t == nil {
			m.t.Fatalf("TaskByKey(%s) = %v, %v", k, t, err)
		}
		if t.Status != want || t.Attempt != attempt {
			m.t.Fatalf("task %s is %v in attempt %d, want %v in attempt %d", k, t.Status, t.Attempt, want, attempt)
		}
	}
}

// pending returns the keys of the pending tasks of pack "p", in order.
func (m *machine) pending() []Key {
	var keys []Key
	for prio := MaxPriority; prio >= 0; prio-- {
		m.Pending("p", uint8(prio), 0, func(r Ready) bool {
			keys = append(keys, r.Key)
			return true
		})
	}
	return keys
}

// mustFlush writes the memtable to the store.
func (m *machine) mustFlush() {
	m.t.Helper()
	if err := m.flush(); err != nil {
		m.t.Fatalf("flush: %v", err)
	}
}

// still ends the flusher of a state: from here on the test says when it writes.
func still(s *State) {
	close(s.stop)
	s.wg.Wait()
	s.stop = make(chan struct{}) // for Close
}

// snapshotBytes returns a snapshot of a state as it is streamed to raft.
func snapshotBytes(t failer, s *State) []byte {
	t.Helper()
	snap, err := s.FSM().Snapshot()
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	defer snap.Release()
	sink := new(memorySink)
	if err := snap.Persist(sink); err != nil {
		t.Fatalf("Persist: %v", err)
	}
	return sink.Bytes()
}

// memorySink takes a snapshot into memory.
type memorySink struct {
	bytes.Buffer
	closed, cancelled bool
}

func (*memorySink) ID() string      { return "memory" }
func (s *memorySink) Close() error  { s.closed = true; return nil }
func (s *memorySink) Cancel() error { s.cancelled = true; return nil }

// killed returns a folder with what is on disk of a state now, as if its process
// had been killed. The state itself goes on.
func killed(t failer, s *State, into string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sealed != nil { // a copy in the middle of a write would be torn, a kill is not
		flushed := s.flushed
		s.mu.Unlock()
		<-flushed
		s.mu.Lock()
	}
	if err := os.CopyFS(into, os.DirFS(s.cfg.Dir)); err != nil {
		t.Fatalf("copy of %s: %v", s.cfg.Dir, err)
	}
	return into
}

// k returns the i-th key of a test. Later ones sort later.
func k(i int) Key { return Key{13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)} }

func place(node uint32, boot uint64) *Place { return &Place{Node: node, Boot: boot} }

// task describes the i-th task of a test; opts change it.
func task(i int, opts ...func(*New)) *New {
	key := k(i)
	n := &New{Key: key[:], Type: "p.f", Args: []byte(`{"x":1}`), Priority: DefaultPriority}
	for _, opt := range opts {
		opt(n)
	}
	return n
}

func named(name string) func(*New)     { return func(n *New) { n.Name = name } }
func at(p *Place) func(*New)           { return func(n *New) { n.Place = p } }
func delayed(ms int64) func(*New)      { return func(n *New) { n.DelayMs = ms } }
func eta(ms int64) func(*New)          { return func(n *New) { n.EtaMs = ms } }
func priority(p uint32) func(*New)     { return func(n *New) { n.Priority = p } }
func attempts(max uint32) func(*New)   { return func(n *New) { n.Retry = &Retry{MaxAttempts: max} } }
func args(s string) func(*New)         { return func(n *New) { n.Args = []byte(s) } }
func typed(s string) func(*New)        { return func(n *New) { n.Type = s } }
func released(s string) func(*New)     { return func(n *New) { n.Release = s } }
func tagged(tags ...string) func(*New) { return func(n *New) { n.Tags = tags } }

func submit(tasks ...*New) *Command {
	return &Command{Kind: &Command_Submit{&Submit{Tasks: tasks}}}
}

func keyed(key, hash string, keep int64, tasks ...*New) *Command {
	return &Command{Kind: &Command_Submit{&Submit{Tasks: tasks, IdempotencyKey: key, BodyHash: []byte(hash), KeepKeyMs: keep}}}
}

func assign(key Key, attempt uint32, p *Place) *Command {
	return &Command{Kind: &Command_Assign{&Assign{Key: key[:], Attempt: attempt, Place: p}}}
}

// large gives a task arguments that are a blob.
func large(text string, size int64) func(*New) {
	return func(n *New) { n.Args, n.ArgsBlob = nil, blobOf(text, size) }
}

// blobOf returns a blob whose digest begins with a letter.
func blobOf(text string, size int64) *Blob {
	return &Blob{Digest: append([]byte(text), make([]byte, digestLen-len(text))...), Size: size}
}

func finish(key Key, attempt uint32, result string, opts ...func(*Finish)) *Command {
	f := &Finish{Key: key[:], Attempt: attempt, Result: []byte(result), RunUs: 1000}
	for _, opt := range opts {
		opt(f)
	}
	return &Command{Kind: &Command_Finish{f}}
}

func fail(key Key, attempt uint32, opts ...func(*Finish)) *Command {
	f := &Finish{Key: key[:], Attempt: attempt, Error: &Failure{Type: "ValueError", Message: "no"}, Reason: ReasonError}
	for _, opt := range opts {
		opt(f)
	}
	return &Command{Kind: &Command_Finish{f}}
}

// finishLarge finishes a task with a result that is a blob.
func finishLarge(key Key, attempt uint32, b *Blob) *Command {
	return finish(key, attempt, "", func(f *Finish) { f.Result, f.ResultBlob = nil, b })
}

func permanent(f *Finish)              { f.Permanent = true }
func retryIn(ms int64) func(f *Finish) { return func(f *Finish) { f.RetryInMs = ms } }
func logged(log []byte) func(*Finish)  { return func(f *Finish) { f.Log = log } }

func release(key Key, attempt uint32, reason string) *Command {
	return &Command{Kind: &Command_Release{&Release{Key: key[:], Attempt: attempt, Reason: reason}}}
}

func cancel(id string) *Command { return &Command{Kind: &Command_Cancel{&Cancel{Id: id}}} }

func tick(limit uint32) *Command { return &Command{Kind: &Command_Tick{&Tick{Limit: limit}}} }

func purge(p *Purge) *Command { return &Command{Kind: &Command_Purge{p}} }

func up(id, name string, boot uint64) *Command {
	return &Command{Kind: &Command_NodeUp{&NodeUp{Id: id, Name: name, Boot: boot, Slots: 4, Http: "http://" + name}}}
}

func down(p *Place, reason string, forget bool) *Command {
	return &Command{Kind: &Command_NodeDown{&NodeDown{Place: p, Reason: reason, Forget: forget}}}
}

func drain(p *Place, draining bool) *Command {
	return &Command{Kind: &Command_NodeDrain{&NodeDrain{Place: p, Draining: draining}}}
}

// drainLasting drains a node until it is resumed.
func drainLasting(node uint32, opts ...func(*NodeDrain)) *Command {
	d := &NodeDrain{Place: &Place{Node: node}, Draining: true, UntilResumed: true}
	for _, o := range opts {
		o(d)
	}
	return &Command{Kind: &Command_NodeDrain{d}}
}

func resume(node uint32) *Command {
	return drainLasting(node, func(d *NodeDrain) { d.Draining = false })
}

func nodePacks(p *Place, packs string) *Command {
	return &Command{Kind: &Command_NodePacks{&NodePacks{Place: p, Packs: []byte(packs)}}}
}

// packPut installs a release; opts change it.
func packPut(name, release string, opts ...func(*PackPut)) *Command {
	p := &PackPut{
		Name: name, Release: release, Version: release, Digest: digestOf(release), Size: 100, Kind: "python", Info: []byte(`{}`),
	}
	for _, opt := range opts {
		opt(p)
	}
	return &Command{Kind: &Command_PackPut{p}}
}

func digestOf(release string) []byte {
	sum := sha256.Sum256([]byte(release))
	return sum[:]
}

func packUse(name, release string) *Command {
	return &Command{Kind: &Command_PackUse{&PackUse{Name: name, Release: release}}}
}

func packRemove(p *PackRemove) *Command { return &Command{Kind: &Command_PackRemove{p}} }

// userPut makes or changes a user with a password; opts change it.
func userPut(name string, opts ...func(*UserPut)) *Command {
	u := &UserPut{Name: name, PasswordHash: "h1"}
	for _, opt := range opts {
		opt(u)
	}
	return &Command{Kind: &Command_UserPut{u}}
}

func userRemove(name string) *Command {
	return &Command{Kind: &Command_UserRemove{&UserRemove{Name: name}}}
}

func keysPut(version uint64, ids ...string) *Command {
	c := &KeysPut{Version: version}
	for _, id := range ids {
		c.Keys = append(c.Keys, &SigningKey{Id: id, Algorithm: "EdDSA", Sealed: []byte(id)})
	}
	return &Command{Kind: &Command_KeysPut{c}}
}

func secretPut(version uint64, r *Rotation) *Command {
	return &Command{Kind: &Command_SecretPut{&SecretPut{Version: version, Rotation: r}}}
}

// by makes somebody ask for a command.
func by(sub string, c *Command) *Command {
	c.Actor = &Actor{Sub: sub, Addr: "10.0.0.1"}
	return c
}
