package node

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"pytasks/cluster"
	"pytasks/fsm"
)

// recovery is the data directory of a node that does not run, opened to make a cluster of it alone.
type recovery struct {
	dir   *dataDir
	files *cluster.Offline
	log   *slog.Logger
}

// openRecovery locks a data directory and reads what the node knew. It changes nothing.
func openRecovery(path string, log *slog.Logger) (*recovery, error) {
	dir, err := openDataDirOffline(path)
	if err != nil {
		return nil, err
	}
	files, err := cluster.OpenOffline(filepath.Join(path, "cluster"), dir.ID, log)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &recovery{dir, files, log}, nil
}

// Close unlocks the directory.
func (r *recovery) Close() error { return errors.Join(r.files.Close(), r.dir.Close()) }

// run makes the node the only one of a new cluster, and returns its id.
func (r *recovery) run() (id string, err error) {
	state, err := r.dir.sub("state")
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
	id, err = r.files.Recover(s.FSM(), s.Applied)
	err = errors.Join(err, s.Close())
	select {
	case broken := <-failed:
		err = errors.Join(err, fmt.Errorf("the state: %w", broken))
	default:
	}
	return id, err
}
