package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
	"pytasks/node/config"
	"pytasks/node/datadir"
)

const (
	methodSecrets = "secrets" // nothing -> ids of the secrets that a node honours, at any node

	// keepEvery is how often the leader looks after users, keys and the secret, if nothing
	// changes.
	keepEvery = time.Second
	// keepTimeout bounds one thing that it does.
	keepTimeout = 10 * time.Second
)

// keeper is what the leader does for the cluster's users, keys and secret. All of it may be
// done twice, by two leaders: what came second is refused.
type keeper struct {
	state   *fsm.State
	queue   *fsm.Queue
	secrets *secrets
	log     *slog.Logger
	changed chan struct{} // capacity 1: something of the above may have changed
	// others returns the names of the other nodes of the cluster, also of those that are down, by their ids.
	others  func() map[string]string
	call    func(ctx context.Context, id, method string, body []byte) ([]byte, error)
	makers  makers
	now     func() time.Time
	file    string                      // for the password of the first user
	settled bool                        // the first user's password is in its file, if this node made it
	unsure  bool                        // the first user may have been made
	caught  func(context.Context) error // waits until the state here has all that was committed
	show    func(password string)       // to somebody who sits there; nil = nobody does
	// givenKey says that operators have given the key of tokens: then the cluster makes none.
	givenKey bool
}

// lead works until ctx ends.
func (k *keeper) lead(ctx context.Context, _ uint64) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		for _, step := range []func(context.Context) error{k.FirstUser, k.keys, k.rotate} {
			ctx, cancel := context.WithTimeout(ctx, keepTimeout)
			err := step(ctx)
			cancel()
			if err != nil && ctx.Err() == nil && !errors.Is(err, fsm.ErrConflict) {
				k.log.Warn("not done yet", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-k.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// FirstUser makes a user who may do everything where there is none. The password is in a file before the user is made, so
// that it is not lost with this process, and under its name only when it is true: another node may come first.
func (k *keeper) FirstUser(ctx context.Context) error {
	draft := k.file + ".draft"
	if k.unsure {
		if err := k.caught(ctx); err != nil {
			return err
		}
		k.unsure = false
	}
	if len(k.state.Users()) > 0 {
		if k.settled {
			return nil
		}
		text, err := os.ReadFile(draft)
		if err == nil && k.makers.matches(ctx, k.state.User(config.FirstUser).GetPasswordHash(), strings.TrimSpace(string(text))) {
			err = os.Rename(draft, k.file)
			k.announce(strings.TrimSpace(string(text)))
		} else if err == nil {
			err = os.Remove(draft)
		}
		k.settled = err == nil || errors.Is(err, os.ErrNotExist)
		return nil
	}
	k.settled = false
	password, hash, err := k.makers.password(ctx)
	if err != nil {
		return fmt.Errorf("make the first user: %w", err)
	}
	if err := datadir.WriteDurably(draft, []byte(password+"\n")); err != nil {
		return fmt.Errorf("write the password of the first user: %w", err)
	}
	err = k.queue.UserPut(ctx, &fsm.UserPut{
		Name: config.FirstUser, PasswordHash: hash, AllowedTasks: []string{"*"}, Scopes: []string{auth.Admin}, Create: true,
	})
	if k.unsure = err != nil; k.unsure { // it may have been written: that has to be known before another password is made
		return fmt.Errorf("make the first user: %w", err)
	}
	poke(k.changed) // the next round finds the user
	return nil
}

func (k *keeper) announce(password string) {
	k.log.Info("this cluster is new: its user is "+config.FirstUser, "password_file", k.file)
	if k.show != nil {
		k.show(password)
	}
}

// keys makes the pair that tokens are signed with where there is none, seals it anew when the
// secret was changed, and forgets pairs whose last token has ended.
func (k *keeper) keys(ctx context.Context) error {
	now := k.state.Now()
	kept := k.state.Keys()
	next := &fsm.KeysPut{Version: kept.GetVersion()}
	changed := false
	for i, key := range kept.GetKeys() {
		if i > 0 && key.VerifyUntilMs > 0 && key.VerifyUntilMs < now {
			changed = true
			continue
		}
		again, err := k.reseal(key)
		if err != nil {
			return err
		}
		changed = changed || again != key
		next.Keys = append(next.Keys, again)
	}
	if len(next.Keys) == 0 {
		if k.givenKey {
			return nil
		}
		key, err := makeKey(k.makers, k.secrets, k.now())
		if err != nil {
			return err
		}
		next.Keys, changed = []*fsm.SigningKey{key}, true
	}
	if !changed {
		return nil
	}
	if err := k.queue.KeysPut(ctx, next); err != nil {
		return fmt.Errorf("keep the keys of tokens: %w", err)
	}
	return nil
}

// reseal returns a key as it is to be kept now: the same, if it is sealed with the secret that
// is used.
func (k *keeper) reseal(key *fsm.SigningKey) (*fsm.SigningKey, error) {
	ring := k.secrets.ring
	if ring == nil && key.SealedBy == "" || ring != nil && key.SealedBy == ring.Current().ID() {
		return key, nil
	}
	private, err := k.secrets.open(keyLabel, key.SealedBy, key.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open the key %s of tokens: %w", key.Id, err)
	}
	by, sealed := k.secrets.seal(keyLabel, private)
	return &fsm.SigningKey{
		Id: key.Id, Algorithm: key.Algorithm, PublicDer: key.PublicDer, Sealed: sealed, SealedBy: by,
		CreatedMs: key.CreatedMs, VerifyUntilMs: key.VerifyUntilMs,
	}, nil
}

// rotate moves a change of the secret on when every node is as far as it has to be for that: first
// all honour the new secret, then all use it, then nobody needs the old one.
func (k *keeper) rotate(ctx context.Context) error {
	r := k.state.Rotation()
	if r == nil || k.secrets.ring == nil {
		return nil
	}
	if err := k.secrets.follow(r); err != nil {
		return err
	}
	if behind, err := k.behind(ctx, r); len(behind) > 0 {
		return err
	}
	next := &fsm.SecretPut{Version: r.Version}
	switch {
	case r.Phase < 2:
		next.Rotation = &fsm.Rotation{From: r.From, To: r.To, Sealed: r.Sealed, Phase: 2}
	case slices.ContainsFunc(k.state.Keys().GetKeys(), func(key *fsm.SigningKey) bool { return key.SealedBy == r.From }):
		return nil // keys comes first
	}
	if err := k.queue.SecretPut(ctx, next); err != nil {
		return fmt.Errorf("go on with the change of the secret: %w", err)
	}
	if next.Rotation == nil {
		k.log.Info("the cluster's secret is changed", "from", r.From, "to", r.To)
	}
	return nil
}

// behind returns the names of the nodes that are not as far as a rotation is, and an error if some
// of them do not answer.
func (k *keeper) behind(ctx context.Context, r *fsm.Rotation) (names []string, err error) {
	for id, name := range k.others() {
		answer, callErr := k.call(ctx, id, methodSecrets, nil)
		ids := strings.Fields(string(answer))
		switch {
		case callErr != nil:
			names = append(names, name)
			err = fmt.Errorf("the change of the secret waits for node %s, which does not answer; if it will not come back: pytasks node rm %[1]s", name)
		case !slices.Contains(ids, r.To) || r.Phase >= 2 && ids[0] != r.To:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// keyLabel separates private keys from all else that is sealed.
const keyLabel = "token key"

// seal returns text as it may be replicated, and the id of the secret that opens it: "" where
// the cluster has none and nothing is sealed.
func (s *secrets) seal(label string, text []byte) (by string, sealed []byte) {
	if s.ring == nil {
		return "", text
	}
	current := s.ring.Current()
	return current.ID(), current.Seal(label, text)
}

// open undoes seal.
func (s *secrets) open(label, by string, sealed []byte) ([]byte, error) {
	if by == "" {
		return sealed, nil
	}
	if s.ring != nil {
		if one, ok := s.ring.Find(by); ok {
			return one.Open(label, sealed)
		}
	}
	return nil, fmt.Errorf("it is sealed with a secret that this node does not have (%s): start it with that one", by)
}
