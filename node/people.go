package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"pytasks/cluster/secret"
	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/httpapi/auth"
	"pytasks/node/client"
	"pytasks/node/config"
)

// users are the cluster's as the API sees them.
type users struct {
	*fsm.Queue
	state  *fsm.State
	caught func(context.Context) error // waits until the state here has all that was committed
}

// User returns a user as this node knows it.
func (u *users) User(name string) *fsm.User { return u.state.User(name) }

// Users returns all.
func (u *users) Users() []*fsm.User { return u.state.Users() }

// Find returns a user as the cluster knows it: what this node knows may be old. Where the cluster gives no answer that has
// to do, if this node knows the user at all.
func (u *users) Find(ctx context.Context, name string) (*fsm.User, error) {
	if name == "" {
		return nil, nil
	}
	err := u.caught(ctx)
	found := u.state.User(name)
	if err != nil && found == nil {
		return nil, err
	}
	return found, nil
}

// UserPut makes or changes a user; what this node answers from then on shows it.
func (u *users) UserPut(ctx context.Context, put *fsm.UserPut) error {
	if err := u.Queue.UserPut(ctx, put); err != nil {
		return err
	}
	return u.caught(ctx)
}

// UserRemove removes a user.
func (u *users) UserRemove(ctx context.Context, name string) error {
	if err := u.Queue.UserRemove(ctx, name); err != nil {
		return err
	}
	return u.caught(ctx)
}

// tokenKeys are the keys of tokens: one that operators gave, or those that the cluster has made.
type tokenKeys struct {
	state   *fsm.State
	queue   *fsm.Queue
	secrets *secrets
	given   *auth.Key // nil = the cluster's own
	cluster func() string
	caught  func(context.Context) error // waits until the state here has all that was committed
	endless bool
	ttl     time.Duration
	makers  makers
	now     func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	set    *auth.KeySet // guarded by mu
	of     *fsm.Keys    // guarded by mu; that set was made of
	issuer string       // guarded by mu; in set
}

// Set returns what tokens are signed and judged with now.
func (k *tokenKeys) Set() *auth.KeySet {
	kept, issuer := k.state.Keys(), "pytasks/"+k.cluster()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set != nil && k.of == kept && k.issuer == issuer {
		return k.set
	}
	var keys []*auth.Key
	if k.given != nil {
		keys = append(keys, k.given)
	} else {
		keys = k.open(kept)
	}
	k.set = auth.NewKeySet(auth.Rules{Issuer: issuer, Elsewhere: k.given != nil, Endless: k.endless}, keys...)
	k.of, k.issuer = kept, issuer
	return k.set
}

// CatchUp returns when this node has the keys that the cluster has.
func (k *tokenKeys) CatchUp(ctx context.Context) error { return k.caught(ctx) }

// open returns the cluster's keys. The private half of one that this node cannot open is missing.
func (k *tokenKeys) open(kept *fsm.Keys) (keys []*auth.Key) {
	for i, key := range kept.GetKeys() {
		var private []byte
		if i == 0 {
			var err error
			if private, err = k.secrets.open(keyLabel, key.SealedBy, key.Sealed); err != nil {
				k.log.Warn("this node signs no tokens", "key", key.Id, "err", err)
			}
		}
		opened, err := auth.ParseKey(key.PublicDer, private)
		if err != nil {
			k.log.Error("a key of tokens is left out", "key", key.Id, "err", err)
			continue
		}
		keys = append(keys, opened)
	}
	return keys
}

// List returns all keys.
func (k *tokenKeys) List() (views []httpapi.KeyView) {
	if k.given != nil {
		return []httpapi.KeyView{{ID: k.given.ID, Algorithm: k.given.Algorithm(), Signs: k.given.Signs()}}
	}
	at := func(ms int64) *time.Time {
		if ms == 0 {
			return nil
		}
		t := time.UnixMilli(ms).UTC()
		return &t
	}
	for i, key := range k.state.Keys().GetKeys() {
		views = append(views, httpapi.KeyView{ID: key.Id, Algorithm: key.Algorithm, Signs: i == 0, CreatedAt: at(key.CreatedMs), VerifyUntil: at(key.VerifyUntilMs)})
	}
	return views
}

// maxKeys is how many keys there may be: a rule of the state machine.
const maxKeys = 8

// Renew makes a new key that signs from now on. The one before it verifies until the last token that it has signed ends.
func (k *tokenKeys) Renew(ctx context.Context) error {
	if k.given != nil {
		return &httpapi.SecretError{Message: "the key of tokens is one that was given to the nodes (--jwt-private-key): give them another"}
	}
	kept := k.state.Keys()
	if len(kept.GetKeys()) >= maxKeys {
		return &httpapi.SecretError{Message: fmt.Sprintf("there are %d keys whose tokens have not ended yet: wait until one is over", maxKeys)}
	}
	next, err := makeKey(k.makers, k.secrets, k.now())
	if err != nil {
		return err
	}
	put := &fsm.KeysPut{Version: kept.GetVersion(), Keys: []*fsm.SigningKey{next}}
	for i, key := range kept.GetKeys() {
		old := &fsm.SigningKey{
			Id: key.Id, Algorithm: key.Algorithm, PublicDer: key.PublicDer, Sealed: key.Sealed, SealedBy: key.SealedBy,
			CreatedMs: key.CreatedMs, VerifyUntilMs: key.VerifyUntilMs,
		}
		if i == 0 && !k.endless {
			old.VerifyUntilMs = k.now().Add(k.ttl + time.Minute).UnixMilli() // nodes that have not heard of the new one sign with it for a moment
		}
		put.Keys = append(put.Keys, old)
	}
	return k.queue.KeysPut(ctx, put)
}

// makeKey makes a key pair, sealed.
func makeKey(m makers, s *secrets, now time.Time) (*fsm.SigningKey, error) {
	key, err := m.key()
	if err != nil {
		return nil, fmt.Errorf("make a key for tokens: %w", err)
	}
	public, err := key.PKIX()
	if err != nil {
		return nil, fmt.Errorf("make a key for tokens: %w", err)
	}
	private, err := key.PKCS8()
	if err != nil {
		return nil, fmt.Errorf("make a key for tokens: %w", err)
	}
	by, sealed := s.seal(keyLabel, private)
	return &fsm.SigningKey{Id: key.ID, Algorithm: key.Algorithm(), PublicDer: public, Sealed: sealed, SealedBy: by, CreatedMs: now.UnixMilli()}, nil
}

// makers make what takes randomness and time. A simulation hands in others.
type makers struct {
	password func(ctx context.Context) (text, hash string, err error)
	matches  func(ctx context.Context, hash, text string) bool
	key      func() (*auth.Key, error)
}

// realMakers make passwords and keys that nobody knows.
func realMakers() makers {
	hasher := auth.NewHasher()
	return makers{
		password: func(ctx context.Context) (text, hash string, err error) {
			text = auth.NewPassword()
			hash, err = hasher.Hash(ctx, text)
			return text, hash, err
		},
		matches: func(ctx context.Context, hash, text string) bool {
			ok, err := hasher.Verify(ctx, hash, text)
			return ok && err == nil
		},
		key: auth.NewKey,
	}
}

// rotations is the cluster's secret as the API sees it.
type rotations struct {
	keeper *keeper
	caught func(context.Context) error
}

// Rotation returns how far a change of the secret is, and which nodes it waits for.
func (r *rotations) Rotation(ctx context.Context) httpapi.RotationView {
	now := r.keeper.state.Rotation()
	if now == nil {
		return httpapi.RotationView{}
	}
	names, _ := r.keeper.behind(ctx, now)
	return httpapi.RotationView{From: now.From, To: now.To, Phase: now.Phase, WaitsFor: names}
}

// Rotate begins a change of the secret.
func (r *rotations) Rotate(ctx context.Context, text string) error {
	ring := r.keeper.secrets.ring
	if ring == nil {
		return &httpapi.SecretError{Message: "this cluster has no secret: make one with `pytasks secret new FILE`, and start all nodes with --secret-file FILE"}
	}
	to, err := secret.Parse(text)
	if err != nil {
		return &httpapi.SecretError{Message: err.Error()}
	}
	if err := r.caught(ctx); err != nil {
		return err
	}
	from, under := ring.Current(), r.keeper.state.Rotation()
	switch {
	case under != nil && under.To == to.ID():
		return nil // asked for twice
	case under != nil:
		return &httpapi.SecretError{Message: "a change of the secret is under way: GET /cluster/secret tells what it waits for"}
	case from == to:
		return &httpapi.SecretError{Message: "the cluster has that secret already"}
	}
	err = r.keeper.queue.SecretPut(ctx, &fsm.SecretPut{Rotation: &fsm.Rotation{
		From: from.ID(), To: to.ID(), Sealed: from.Seal(rotationLabel, []byte(to.Text())), Phase: 1,
	}})
	if err != nil && !errors.Is(err, fsm.ErrConflict) {
		return err
	}
	return r.caught(ctx)
}

// openPeople makes what the API needs to know who asks: users, keys, and the secret.
func (n *Node) openPeople(o *httpapi.Options, caught func(context.Context) error) error {
	k := &tokenKeys{
		state: n.state, queue: n.queue, secrets: n.secrets, cluster: n.cluster.ID, caught: caught,
		endless: !n.cfg.TokensExpire, ttl: n.cfg.TokenTTL, makers: n.host.makers, now: n.host.now, log: n.log.With("component", "keys"),
	}
	if len(n.cfg.JWTPrivatePEM)+len(n.cfg.JWTPublicPEM) > 0 {
		var err error
		if k.given, err = auth.ParsePEM(n.cfg.JWTPrivatePEM, n.cfg.JWTPublicPEM); err != nil {
			return err
		}
	}
	o.Users = &users{n.queue, n.state, caught}
	o.Keys, o.Secrets, o.Audit = k, &rotations{n.keeper, caught}, n.state
	host, _, _ := net.SplitHostPort(n.cfg.HTTP)
	o.LoopbackOnly = config.IsLoopback(host)
	if o.Anonymous = httpapi.Anonymous(n.cfg.Anonymous); o.Anonymous == "" {
		o.Anonymous = httpapi.AnonymousSubmit
		if o.LoopbackOnly {
			o.Anonymous = httpapi.AnonymousRead
		}
	}
	if !o.LoopbackOnly && n.certificate == nil {
		n.log.Warn("the API is plain HTTP: passwords and tokens can be read on their way; give --http-tls-cert, or put a proxy in front", "http", n.cfg.HTTP)
	}
	o.RateLimit, o.TokenTTL = n.cfg.RateLimit, n.cfg.TokenTTL
	if n.host.tokens == "" {
		return nil
	}
	token, remove, err := client.LeaveLocalToken(n.host.tokens, n.listener.Addr().String())
	if err != nil {
		n.log.Warn("command lines here need a password: no token can be left for them", "err", err)
		return nil
	}
	o.LocalToken = token
	n.onClose(remove)
	return nil
}

// newKeeper makes what this node does for the cluster while it leads.
func (n *Node) newKeeper() *keeper {
	return &keeper{
		state: n.state, queue: n.queue, secrets: n.secrets, log: n.log.With("component", "keeper"), changed: make(chan struct{}, 1),
		makers: n.host.makers, now: n.host.now, show: n.host.show, file: n.dir.Path + "/" + config.PasswordFile, givenKey: len(n.cfg.JWTPrivatePEM)+len(n.cfg.JWTPublicPEM) > 0,
		others: func() map[string]string {
			names := map[string]string{}
			for _, r := range n.state.Nodes() {
				if !r.Gone && r.Id != n.dir.ID {
					names[r.Id] = r.Name
				}
			}
			return names
		},
		call: func(ctx context.Context, id, method string, body []byte) ([]byte, error) {
			return n.cluster.Call(ctx, id, method, body)
		},
	}
}
