package datadir

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"pytasks/cluster"
	"pytasks/fsm"
)

// Recovery is the data directory of a node that does not run, opened to make a cluster of it alone.
type Recovery struct {
	Dir   *Dir
	Files *cluster.Offline
	log   *slog.Logger
}

// OpenRecovery locks a data directory and reads what the node knew. It changes nothing.
func OpenRecovery(path string, log *slog.Logger) (*Recovery, error) {
	dir, err := OpenOffline(path)
	if err != nil {
		return nil, err
	}
	files, err := cluster.OpenOffline(filepath.Join(path, "cluster"), dir.ID, log)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &Recovery{dir, files, log}, nil
}

// Close unlocks the directory.
func (r *Recovery) Close() error { return errors.Join(r.Files.Close(), r.Dir.Close()) }

// run makes the node the only one of a new cluster, and returns its id.
func (r *Recovery) Run() (id string, err error) {
	state, err := r.Dir.Sub("state")
	if err != nil {
		return "", err
	}
	failed := make(chan error, 1)
	s, err := fsm.Open(fsm.Config{Dir: state, Logger: r.log, Fatal: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}})
	if err != nil {
		return "", err
	}
	id, err = r.Files.Recover(s.FSM(), s.Applied)
	err = errors.Join(err, s.Close())
	select {
	case broken := <-failed:
		err = errors.Join(err, fmt.Errorf("the state: %w", broken))
	default:
	}
	return id, err
}
