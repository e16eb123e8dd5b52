package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pytasks/cluster/secret"
	"pytasks/node/config"
)

// secretFile writes secrets as an operator does.

func secretFile(t *testing.T, secrets ...secret.Secret) string {
	t.Helper()
	var text strings.Builder
	for _, s := range secrets {
		text.WriteString(s.Text() + "\n")
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// adminPassword returns the password of the first user, which one of the nodes has.
func (ps processes) adminPassword() string {
	t := ps[0].t
	t.Helper()
	var password string
	eventually(t, 20*time.Second, "a node has the first user's password", func() error {
		for _, p := range ps {
			if text, err := os.ReadFile(filepath.Join(p.dir, "data", config.PasswordFile)); err == nil {
				password = strings.TrimSpace(string(text))
				return nil
			}
		}
		return fmt.Errorf("there is no %s", config.PasswordFile)
	})
	return password
}

// login returns a token.

func (p *process) login(user, password string) string {
	p.t.Helper()
	body := fmt.Sprintf(`{"user":%q,"password":%q}`, user, password)
	var token string
	eventually(p.t, 10*time.Second, user+" gets a token", func() error { // the user may be on its way
		a, err := send(p, http.MethodPost, "/token", body)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("got %v", a)
		}
		token = member(a.body, "token")
		return err
	})
	return token
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// TestProcessSecurity attacks a cluster of three nodes that have a secret, and looks from outside at what it promises.

func TestProcessSecurity(t *testing.T) {
	theSecret := secret.New()
	ps := startCluster(t, 3, "--secret-file", secretFile(t, theSecret), "--anonymous", "submit", "--pprof")
	s := &siege{ps: ps, secret: theSecret, admin: ps[0].login(config.FirstUser, ps.adminPassword())}
	for _, story := range []struct {
		name string
		run  func(*testing.T, *siege)
	}{
		{"nothing readable between nodes", captureStory},
		{"another secret", otherSecretStory},
		{"certificates", certificateStory},
		{"garbage at the cluster port", garbageStory},
		{"anonymous", anonymousStory},
		{"no default credentials", defaultsStory},
		{"scopes", scopesStory},
		{"owners", ownerStory},
		{"protected tasks", protectedStory},
		{"tokens that are not to be trusted", badTokenStory},
		{"packs need a token", packTokenStory},
		{"archives", archiveStory},
		{"pages of other sites", crossSiteStory},
		{"slow clients", slowStory},
		{"keys change under load", keysStory},
		{"audit", auditStory},
		{"guessed passwords", guessStory},
		{"files", filesStory},
		{"no secret in what is written", leakStory},
	} {
		t.Run(story.name, func(t *testing.T) {
			ps.within(t)
			story.run(t, s)
		})
	}
}

// siege is the cluster that is attacked.

type siege struct {
	ps     processes
	secret secret.Secret
	admin  string // token
	tokens []string
}

// user makes a user and returns its token.

func (s *siege) user(t *testing.T, name string, scopes, allowed []string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"name": name, "password": "pass of " + name, "scopes": scopes, "allowed_tasks": allowed})
	if err != nil {
		t.Fatal(err)
	}
	s.ps[0].must(http.StatusOK, http.MethodPost, "/users", string(body), bearer(s.admin)...)
	token := s.ps[1].login(name, "pass of "+name)
	s.tokens = append(s.tokens, token)
	return token
}

// captureStory: whatever crosses gossip and cluster ports while tasks with arguments run, the arguments are not in it.

// otherSecretStory: nodes with another secret, or none, stay out; they and the cluster say so, once.

// certificateStory: who has no certificate of this cluster gets nothing at the cluster port.

// letIn says whether the cluster port goes on with a connection after the handshake: it waits for a hello then.

// garbageStory: what strangers and members send that makes no sense ends their connection, and nothing else.

// status is what a request without, or with, a token is answered.

// anonymousStory: without a token one may submit what is not protected and read it, and nothing else.

// scopesStory: each scope opens its routes and no others.

// ownerStory: a task that was submitted with a token is its user's alone.

// badTokenStory: some of what the tests of package auth try in full, through a real node.

// archiveStory: archives of attackers are refused, whole.

// crossSiteStory: what a page in a browser on this machine sends has no rights, nor has what another name leads here.

// slowStory: clients that send their requests byte by byte, or nothing, are hung up on.

// keysStory: the key of tokens changes while clients use tokens: none of theirs is refused, and new ones are signed with the

// new key.

// load has tasks submitted with a token at all nodes until the function that it returns is called, which fails if one was refused

// or failed.

func (s *siege) load(t *testing.T, token string) (done func()) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var count atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := send(s.ps[i%3], http.MethodPost, "/task?wait=10s", `{"type":"test.main.myProtectedTask","args":{"x":1,"y":2}}`, bearer(token)...)
				if err == nil && (a.status != http.StatusOK || member(a.body, "status") != "SUCCESS") {
					err = fmt.Errorf("got %v", a)
				}
				if err != nil {
					t.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	return func() {
		t.Helper()
		from := count.Load()
		eventually(t, 10*time.Second, "the load goes on", func() error {
			if count.Load() < from+20 && !t.Failed() {
				return fmt.Errorf("%d tasks", count.Load())
			}
			return nil
		})
		close(stop)
		wg.Wait()
		t.Logf("%d tasks", count.Load())
	}
}

// auditStory: what was done is told the same way by every node.

// guessStory: guessing passwords is slowed down, and the user gets in again afterwards from elsewhere.

// filesStory: nobody else on the machine reads what a node keeps.

// leakStory: after all of that no secret, password, hash, token or argument is in what nodes write and show.

// TestProcessSecretRotation: a running cluster changes its secret while tasks run, and none fails; then a node with the new one

// may join, one with the old one may not, and a node starts again with what it was given at first.

// TestProcessHTTPS: the API over TLS, and a certificate that is replaced while the node runs.

// writeCertificate writes a new certificate for 127.0.0.1 and returns a pool that trusts it.
