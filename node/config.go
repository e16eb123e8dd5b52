package node

import (
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Config is everything a node can be told. DefaultConfig gives the default of each
// field; the command line, the environment and a YAML file change them (see
// configOptions, which names every field once for all three).
type Config struct {
	// Name is the node's name for people, unique in the cluster. Default: the host name.
	Name string
	// DataDir is the folder of the node's log, state and identity; it is made if it
	// is absent. Default: see defaultDataDir.
	DataDir string
	// HTTP is the host:port of the REST API. Default 127.0.0.1:8080; port 0 picks a free one.
	HTTP string
	// Gossip is the host:port, TCP and UDP, on which members find each other. Default
	// 127.0.0.1:7946; port 0 picks a free one.
	Gossip string
	// Cluster is the host:port of raft and node-to-node calls. Default 127.0.0.1:7947;
	// port 0 picks a free one.
	Cluster string
	// Advertise is the host at which other nodes reach this one. Default, and if empty:
	// the host of Cluster.
	Advertise string
	// Join lists gossip addresses, host:port, of nodes to join; the own one may be among
	// them. Empty: the node founds a cluster of its own, or resumes the one it was in.
	Join []string
	// BootstrapExpect is the number of nodes, all started with the same Join, that found
	// a cluster together. Zero: with Join, wait to be taken in; without, found one alone.
	BootstrapExpect int
	// Slots is how many tasks the node runs at once. Default: the number of CPUs.
	Slots int
	// MaxVoters bounds the nodes that take part in raft's votes; odd. Default 5.
	MaxVoters int
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string
	// LogFormat is text or json. Default text.
	LogFormat string
	// DrainTimeout is how long running tasks may go on after the first signal to stop;
	// zero hands them back at once. Default 30s.
	DrainTimeout time.Duration
	// KeepFinished is how long finished tasks are kept. Default 24h.
	KeepFinished time.Duration
	// MaxFinished is how many finished tasks are kept. Default 1,000,000.
	MaxFinished int
	// MaxFinishedBytes is how many bytes of finished tasks are kept. Default 4 GiB.
	MaxFinishedBytes int64
	// MaxQueued is how many unfinished tasks the cluster takes. Default 500,000.
	MaxQueued int
	// MaxQueuedBytes is how many bytes of unfinished tasks the cluster takes. Default 1 GiB.
	MaxQueuedBytes int64
	// MaxBody is the largest request body in bytes, 24 MiB at most. Default 16 MiB.
	MaxBody int64
	// TaskTimeout ends an attempt of a task that names no timeout of its own. Default 1h.
	TaskTimeout time.Duration
	// CORSOrigins lists the origins whose pages may use the API, or "*" for all; empty
	// sends no CORS headers. Default "*", as the reference was shipped.
	CORSOrigins []string
	// Pprof serves /debug/pprof on the HTTP address. Default false.
	Pprof bool
}

// maxBody bounds MaxBody: a request's tasks travel between nodes, and through the log,
// in one piece, which may have 32 MiB with all that belongs to it.
const maxBody = 24 << 20

// DefaultConfig returns the configuration of a node that was told nothing.
func DefaultConfig() Config {
	host, _ := os.Hostname() // an empty name is refused by validate, with advice
	return Config{
		Name:             host,
		DataDir:          defaultDataDir(os.Geteuid(), os.Getenv),
		HTTP:             "127.0.0.1:8080",
		Gossip:           "127.0.0.1:7946",
		Cluster:          "127.0.0.1:7947",
		Slots:            runtime.GOMAXPROCS(0),
		MaxVoters:        5,
		LogLevel:         "info",
		LogFormat:        "text",
		DrainTimeout:     30 * time.Second,
		KeepFinished:     24 * time.Hour,
		MaxFinished:      1_000_000,
		MaxFinishedBytes: 4 << 30,
		MaxQueued:        500_000,
		MaxQueuedBytes:   1 << 30,
		MaxBody:          16 << 20,
		TaskTimeout:      time.Hour,
		CORSOrigins:      []string{"*"},
	}
}

// defaultDataDir is /var/lib/pytasks for root, else $XDG_DATA_HOME/pytasks or
// ~/.local/share/pytasks; empty, which validate refuses, if there is no home either.
func defaultDataDir(uid int, getenv func(string) string) string {
	if uid == 0 {
		return "/var/lib/pytasks"
	}
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pytasks")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "pytasks")
	}
	return ""
}
