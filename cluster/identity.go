package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"pytasks/node/failpoint"
)

const (
	identityFile = "cluster.json"
	peersFile    = "peers.json"
)

// identity is what a node knows about its membership, in cluster.json.
type identity struct {
	Cluster uuid.UUID   `json:"cluster"`           // zero = none yet
	Removed bool        `json:"removed,omitempty"` // taken out of the cluster: the data must not come back
	Former  []uuid.UUID `json:"former,omitempty"`  // clusters that this one was made of, by recovery or from a snapshot; the last is the newest
}

// peer is one known member, in peers.json: where to look for the others after a restart.
type peer struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Gossip string `json:"gossip"`
	Addr   string `json:"addr"`
}

// loadJSON reads a file written by saveJSON; a missing one leaves v as it is.
func loadJSON(dir, name string, v any) error {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s is damaged: %w: put it back from a copy, or %s", filepath.Join(dir, name), err, advice)
	}
	return nil
}

// saveJSON replaces a file so that a crash leaves the old or the new one, and returns when the new one is on disk.
func saveJSON(dir, name string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, name+".tmp")
	if err := writeSynced(tmp, append(raw, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	failpoint.Point("cluster.save.middle")
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func writeSynced(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}
