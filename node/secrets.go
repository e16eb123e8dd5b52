package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"pytasks/cluster/secret"
	"pytasks/fsm"
	"pytasks/node/config"
	"pytasks/node/datadir"
)

// rotationLabel separates a new secret from all else that is sealed with the old one.
const rotationLabel = "rotation"

// secrets are those that this node honours, and what it keeps of them in its data
// directory: a rotation makes a new one that the operator's file does not have yet.
type secrets struct {
	ring *secret.Ring // nil = the cluster has none
	file string
	log  *slog.Logger

	state   *fsm.State    // set before run
	changed chan struct{} // capacity 1: the rotation may have changed

	mu   sync.Mutex
	kept secret.Kept // guarded by mu
}

// openSecrets returns the secrets that a node honours: those that it was given, or what the
// cluster's rotations have made of them.
func openSecrets(dir string, given []secret.Secret, log *slog.Logger) (*secrets, error) {
	s := &secrets{file: filepath.Join(dir, secret.KeptFile), log: log, changed: make(chan struct{}, 1)}
	if len(given) == 0 {
		return s, nil
	}
	honoured := given
	text, err := os.ReadFile(s.file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the secrets of this node: %w", err)
	default:
		if err := config.CheckPrivate(s.file); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &s.kept); err != nil {
			return nil, fmt.Errorf("%s is damaged: remove it, and give the node the newest secret", s.file)
		}
		kept, err := parseSecrets(s.kept.Secrets)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		if honoured, err = s.merge(given, kept); err != nil {
			return nil, err
		}
	}
	s.ring = secret.NewRing(honoured[0], honoured[1:]...)
	return s, nil
}

// merge decides between what the operator gives and what was kept: the given one wins
// unless a rotation has replaced it.
func (s *secrets) merge(given, kept []secret.Secret) ([]secret.Secret, error) {
	id := given[0].ID()
	switch {
	case len(kept) > 0 && kept[0].ID() == id:
		return kept, nil
	case slices.Contains(s.kept.Replaced, id) || slices.ContainsFunc(kept, func(k secret.Secret) bool { return k.ID() == id }):
		s.log.Warn("the secret that this node was given has been replaced: the new one is used, which `pytasks secret show` prints; give it to the node", "given", id, "used", kept[0].ID())
		return kept, nil
	}
	s.kept = secret.Kept{} // another secret than ever before: the operator means it
	if err := os.Remove(s.file); err != nil {
		return nil, fmt.Errorf("forget the old secrets: %w", err)
	}
	return given, nil
}

func parseSecrets(texts []string) ([]secret.Secret, error) {
	var all []secret.Secret
	for _, text := range texts {
		one, err := secret.Parse(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// ids returns those of the secrets that this node honours, the one that it uses first.
func (s *secrets) ids() []string {
	if s.ring == nil {
		return nil
	}
	var ids []string
	for _, one := range s.ring.Secrets() {
		ids = append(ids, one.ID())
	}
	return ids
}

// follow brings this node to where the rotation is: nil = there is none. It may be told
// the same twice.
func (s *secrets) follow(r *fsm.Rotation) error {
	if s.ring == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil {
		return s.settle()
	}
	if _, ok := s.ring.Find(r.To); !ok {
		from, ok := s.ring.Find(r.From)
		if !ok {
			return fmt.Errorf("the cluster's secret is being changed from one that this node does not have: give it the new one")
		}
		text, err := from.Open(rotationLabel, r.Sealed)
		if err != nil {
			return fmt.Errorf("open the new secret: %w", err)
		}
		to, err := secret.Parse(string(text))
		if err != nil {
			return fmt.Errorf("read the new secret: %w", err)
		}
		s.kept.From = r.From
		s.ring.Add(to)
		if err := s.keep(); err != nil {
			return err
		}
	}
	if r.Phase >= 2 && s.ring.Current().ID() != r.To {
		s.ring.Use(r.To)
		return s.keep()
	}
	return nil
}

// settle ends a rotation: the old secret is not honoured any more, or, where the rotation was
// given up before its second phase, the new one.
func (s *secrets) settle() error {
	if s.kept.From == "" {
		return nil
	}
	used := s.ring.Current().ID()
	for _, id := range s.ids() {
		if id != used && (id == s.kept.From || used == s.kept.From) {
			s.ring.Drop(id)
			s.kept.Replaced = append(s.kept.Replaced, id)
		}
	}
	s.kept.From = ""
	return s.keep()
}

// keep writes the file. mu is held.
func (s *secrets) keep() error {
	s.kept.Secrets = nil
	for _, one := range s.ring.Secrets() {
		s.kept.Secrets = append(s.kept.Secrets, one.Text())
	}
	text, err := json.Marshal(s.kept)
	if err == nil {
		err = datadir.WriteDurably(s.file, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep the secrets of this node: %w", err)
	}
	return nil
}

// run follows the rotations of the cluster's secret until ctx ends.
func (s *secrets) run(ctx context.Context) {
	for {
		if err := s.follow(s.state.Rotation()); err != nil {
			s.log.Error("the change of the cluster's secret is not followed", "err", err)
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return
		}
	}
}

// answer is the handler of methodSecrets: the ids that this node honours, the one that it
// uses first.
func (s *secrets) answer(context.Context, string, []byte) ([]byte, error) {
	return []byte(strings.Join(s.ids(), " ")), nil
}
