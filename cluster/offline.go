package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// maxFormer is how many clusters a node remembers that its own was made of.
const maxFormer = 16

// Offline is the files of a node that does not run; the caller holds the lock that keeps it from starting.
type Offline struct {
	c    *Cluster
	own  identity
	last raft.Configuration
}

// Found is what the files of a node say.
type Found struct {
	Cluster   string // id, "" = it was in none yet
	Last      uint64 // index of the last entry on the disk, committed or not
	Term      uint64 // of that entry
	Snapshot  uint64 // index of the newest snapshot, 0 = none
	Voters    []Place
	Nonvoters []Place
}

// Place is a member as the configuration and the files of a node know it.
type Place struct {
	ID   string
	Name string // the id where the name is not known
	Addr string // "" = not known
}

// OpenOffline opens the files of the node with that id in a directory; see Config.Dir. It changes nothing in them.
func OpenOffline(dir, id string, log *slog.Logger) (*Offline, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if _, err := os.Stat(filepath.Join(dir, "raft", logFile)); err != nil {
		return nil, fmt.Errorf("there is no raft log: %w", err)
	}
	cfg := Config{Dir: dir, ID: id, Logger: log}
	cfg.setDefaults()
	o := &Offline{c: &Cluster{cfg: cfg, log: cfg.Logger, book: newBook(id)}}
	if err := loadJSON(dir, identityFile, &o.own); err != nil {
		return nil, err
	}
	if err := o.c.loadFiles(); err != nil {
		return nil, err
	}
	var err error
	if o.c.stores, err = openStores(cfg, o.c.fatal); err != nil {
		return nil, err
	}
	if o.last, err = o.configuration(); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// Close closes the files. It is safe to call twice.
func (o *Offline) Close() error {
	if o.c.stores == nil {
		return nil
	}
	err := o.c.stores.close()
	o.c.stores = nil
	return err
}

// configuration returns the newest one on the disk, committed or not, as raft uses it.
func (o *Offline) configuration() (conf raft.Configuration, err error) {
	from := uint64(1)
	list, err := o.c.stores.snapshots.List()
	if err != nil {
		return conf, fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) > 0 {
		conf, from = list[0].Configuration, list[0].Index+1
	}
	first, last, err := o.c.stores.span()
	if err != nil {
		return conf, err
	}
	for index := max(first, from, 1); index <= last; index++ {
		var entry raft.Log
		if err := o.c.stores.log.GetLog(index, &entry); err != nil {
			return conf, fmt.Errorf("read entry %d of the raft log: %w", index, err)
		}
		if entry.Type == raft.LogConfiguration {
			conf = raft.DecodeConfiguration(entry.Data)
		}
	}
	return conf, nil
}

// Look returns what the files say.
func (o *Offline) Look() (*Found, error) {
	f := &Found{}
	if o.own.Cluster != uuid.Nil {
		f.Cluster = o.own.Cluster.String()
	}
	list, err := o.c.stores.snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) > 0 {
		f.Snapshot, f.Last, f.Term = list[0].Index, list[0].Index, list[0].Term
	}
	_, last, err := o.c.stores.span()
	if err != nil {
		return nil, err
	}
	if last > f.Last {
		var entry raft.Log
		if err := o.c.stores.log.GetLog(last, &entry); err != nil {
			return nil, fmt.Errorf("read entry %d of the raft log: %w", last, err)
		}
		f.Last, f.Term = last, entry.Term
	}
	notes := map[string]note{}
	for _, n := range o.c.book.all() {
		notes[n.id] = n
	}
	for _, s := range o.last.Servers {
		id := string(s.ID)
		p := Place{ID: id, Name: id, Addr: string(s.Address)}
		if n, ok := notes[id]; ok {
			p.Name, p.Addr = n.name, n.addr
		}
		if s.Suffrage == raft.Voter {
			f.Voters = append(f.Voters, p)
		} else {
			f.Nonvoters = append(f.Nonvoters, p)
		}
	}
	return f, nil
}

// Recover makes the node the only member of a new cluster which has all that is in its log, whether it was committed or not.
// The new cluster has a new id, which is returned: nodes of the old one are refused. fsm is the node's state machine, which has
// applied so much; it is of no use to others afterwards.
//
// The id is written first. So if this ends in the middle, what is left belongs to no cluster that anybody else is in, still asks
// others for their votes, and can be recovered again.
func (o *Offline) Recover(fsm raft.FSM, applied func() uint64) (id string, err error) {
	defer func() {
		if p := recover(); p != nil { // fsm panics over an entry that it cannot read
			err = fmt.Errorf("recover the cluster: %v", p)
		}
	}()
	if o.own.Cluster == uuid.Nil {
		return "", fmt.Errorf("the node was in no cluster yet: there is nothing to recover; start it, with --join if there are others")
	}
	c := o.c
	c.cfg.FSM, c.cfg.Applied = fsm, applied
	if err := c.checkOwner(); err != nil {
		return "", err
	}
	if err := c.checkData(raft.DefaultConfig()); err != nil {
		return "", err
	}
	next := o.own.successor()
	if err := saveJSON(c.cfg.Dir, identityFile, next); err != nil {
		return "", fmt.Errorf("save the cluster's id: %w", err)
	}
	if err := os.Remove(filepath.Join(c.cfg.Dir, peersFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("forget the members of the old cluster: %w", err)
	}
	if err := o.settle(fsm, applied); err != nil {
		return "", fmt.Errorf("recover the cluster: %w", err)
	}
	return next.Cluster.String(), nil
}

// settle applies all that is in the log, and has a snapshot with the new configuration take its place: what the log says of members
// is void with that. It is raft.RecoverCluster, but for a state machine that keeps its state and may not need the snapshot that there is.
func (o *Offline) settle(fsm raft.FSM, applied func() uint64) error {
	s := o.c.stores
	found, err := o.Look()
	if err != nil {
		return err
	}
	if applied() < found.Snapshot {
		list, err := s.snapshots.List()
		if err != nil {
			return fmt.Errorf("list snapshots: %w", err)
		}
		_, data, err := s.snapshots.Open(list[0].ID)
		if err != nil {
			return fmt.Errorf("open snapshot %s: %w", list[0].ID, err)
		}
		if err := fsm.Restore(data); err != nil {
			return fmt.Errorf("restore snapshot %s: %w", list[0].ID, err)
		}
	}
	first, last, err := s.span()
	if err != nil {
		return err
	}
	for index := found.Snapshot + 1; index <= last; index++ {
		var entry raft.Log
		if err := s.log.GetLog(index, &entry); err != nil {
			return fmt.Errorf("read entry %d of the raft log: %w", index, err)
		}
		if entry.Type == raft.LogCommand {
			fsm.Apply(&entry)
		}
	}
	snap, err := fsm.Snapshot()
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	defer snap.Release()
	sink, err := s.snapshots.Create(raft.SnapshotVersionMax, found.Last, found.Term, aloneIn(o.c.cfg.ID), found.Last, noTransport())
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	if err := snap.Persist(sink); err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	if last == 0 {
		return nil
	}
	return s.log.DeleteRange(first, last)
}

// successor is the identity of a new cluster that is made of what this one had.
func (own identity) successor() identity {
	former := append(slices.Clone(own.Former), own.Cluster)
	return identity{Cluster: uuid.New(), Former: former[max(0, len(former)-maxFormer):]}
}

// aloneIn is the configuration of a cluster of one node. Its id stands for its address, which is of no matter to itself and
// takes the place of that as soon as it leads.
func aloneIn(id string) raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(id), Address: raft.ServerAddress(id)}}}
}

// noTransport goes with snapshots, whose files name the members a second time as a transport would.
func noTransport() raft.Transport {
	_, t := raft.NewInmemTransport("")
	return t
}

// Seed makes the files of a new node, which has the given id, in an empty directory: of the only member of a new cluster, whose
// log begins behind a snapshot of the given index and term. state writes the snapshot. former is the id of the cluster that the
// snapshot is of. It returns the new cluster's.
func Seed(dir, id, former string, index, term uint64, state func(io.Writer) error, log *slog.Logger) (cluster string, err error) {
	own := identity{}
	if own.Cluster, err = uuid.Parse(former); err != nil {
		return "", fmt.Errorf("the id %q of the old cluster: %w", former, err)
	}
	next := own.successor()
	if index == 0 || term == 0 {
		return "", fmt.Errorf("a snapshot of index %d and term %d: both are at least 1", index, term)
	}
	cfg := Config{Dir: dir, ID: id, Logger: log}
	cfg.setDefaults()
	if err := os.MkdirAll(filepath.Join(dir, "raft"), 0o700); err != nil {
		return "", fmt.Errorf("cluster directory: %w", err)
	}
	s, err := openStores(cfg, func(error) {})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	sink, err := s.snapshots.Create(raft.SnapshotVersionMax, index, term, aloneIn(id), index, noTransport())
	if err != nil {
		return "", fmt.Errorf("write the snapshot: %w", err)
	}
	if err := state(sink); err != nil {
		return "", errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return "", fmt.Errorf("write the snapshot: %w", err)
	}
	// raft does not take a term from its snapshots: in a lower one than theirs it would lead a log that goes back.
	if err := s.log.SetUint64([]byte("CurrentTerm"), term); err != nil {
		return "", err
	}
	if err := s.log.Set([]byte(ownerKey), []byte(id)); err != nil {
		return "", err
	}
	if err := saveJSON(dir, identityFile, next); err != nil {
		return "", fmt.Errorf("save the cluster's id: %w", err)
	}
	return next.Cluster.String(), nil
}
