package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pytasks/cluster/secret"
	"pytasks/fsm"
	"pytasks/node/config"
)

// oneLog is the log of a cluster of one: it applies at once. Errors that are set are answered after that.
type oneLog struct {
	state *fsm.State
	index uint64
	lie   error // nil = say how it went
}

func (l *oneLog) Do(_ context.Context, cmds []*fsm.Command) ([]*fsm.Outcome, error) {
	l.index++
	entry, err := fsm.EncodeEntry(&fsm.Entry{NowMs: time.Now().UnixMilli(), Commands: cmds})
	if err != nil {
		return nil, err
	}
	outs, ok := l.state.FSM().Apply(&raft.Log{Index: l.index, Type: raft.LogCommand, Data: entry}).([]*fsm.Outcome)
	if l.lie != nil || !ok {
		return nil, errors.Join(l.lie, fsm.ErrUnknown)
	}
	return outs, nil
}

// newTestKeeper returns a keeper over a state of its own.
func newTestKeeper(t *testing.T, given ...secret.Secret) (*keeper, *oneLog) {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { state.Close() })
	log := &oneLog{state: state}
	queue := fsm.NewQueue(log, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = queue.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	dir := t.TempDir()
	secrets, err := openSecrets(dir, given, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{
		state: state, queue: queue, secrets: secrets, log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1), makers: simMakers(),
		now: time.Now, file: filepath.Join(dir, config.PasswordFile), caught: func(context.Context) error { return nil },
		others: func() map[string]string { return nil },
	}, log
}

// TestKeeperFirstUser: a new cluster gets a user whose password is in a file, whatever the outcome of writing it looked like; one that
// has users gets none, and a password that is not true is not kept.
func TestKeeperFirstUser(t *testing.T) {
	ctx := t.Context()
	for name, lie := range map[string]error{"known": nil, "unknown": errors.New("nobody knows")} {
		t.Run(name, func(t *testing.T) {
			k, log := newTestKeeper(t)
			log.lie = lie
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if err := k.FirstUser(short); (err != nil) != (lie != nil) {
				t.Fatalf("got %v", err)
			}
			log.lie = nil
			if err := k.FirstUser(ctx); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(k.file)
			u := k.state.User(config.FirstUser)
			if err != nil || !k.makers.matches(ctx, u.GetPasswordHash(), strings.TrimSpace(string(text))) || strings.Join(u.Scopes, "") != "admin" {
				t.Errorf("the user is %v, the file holds %q, %v", u, text, err)
			}
		})
	}
	k, _ := newTestKeeper(t)
	if err := k.queue.UserPut(ctx, &fsm.UserPut{Name: config.FirstUser, PasswordHash: "$of$another", Scopes: []string{"admin"}, Create: true}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.file+".draft", []byte("password\n"), 0o600); err != nil { // of a try that came second
		t.Fatal(err)
	}
	if err := k.FirstUser(ctx); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{k.file, k.file + ".draft"} {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", file, err)
		}
	}
}

// TestKeeperKeys: the keys of tokens are made once, sealed with the secret that is used, sealed anew when that changes, and
// forgotten when they are over.
func TestKeeperKeys(t *testing.T) {
	ctx, old, next := t.Context(), secret.New(), secret.New()
	k, _ := newTestKeeper(t, old)
	step := func(count int, by secret.Secret) {
		t.Helper()
		if err := k.keys(ctx); err != nil {
			t.Fatal(err)
		}
		kept := k.state.Keys()
		if len(kept.GetKeys()) != count {
			t.Fatalf("there are %d keys, want %d", len(kept.GetKeys()), count)
		}
		for _, key := range kept.Keys {
			if private, err := by.Open(keyLabel, key.Sealed); key.SealedBy != by.ID() || err != nil || len(private) == 0 {
				t.Errorf("a key is sealed by %s: %v", key.SealedBy, err)
			}
		}
	}
	step(1, old)
	version := k.state.Keys().Version
	if step(1, old); k.state.Keys().Version != version {
		t.Error("the keys were written again for nothing")
	}
	k.secrets.ring.Add(next)
	k.secrets.ring.Use(next.ID())
	step(1, next)
	tokens := &tokenKeys{state: k.state, queue: k.queue, secrets: k.secrets, cluster: func() string { return "c" }, ttl: time.Hour, makers: k.makers, now: time.Now, log: k.log}
	if err := tokens.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	step(2, next)
	set := tokens.Set()
	if set != tokens.Set() {
		t.Error("the keys are opened for every request")
	}
	over := &fsm.KeysPut{Version: k.state.Keys().Version, Keys: k.state.Keys().Keys}
	over.Keys[1].VerifyUntilMs = 1
	if err := k.queue.KeysPut(ctx, over); err != nil {
		t.Fatal(err)
	}
	step(1, next)
	if tokens.Set() == set {
		t.Error("a change of the keys is not seen")
	}
	k.secrets.ring = secret.NewRing(old)
	if err := k.keys(ctx); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("a key that cannot be opened: %v", err)
	}
}
