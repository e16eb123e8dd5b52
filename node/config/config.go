package config

import (
	"os"
	"path/filepath"
	"runtime"
	"time"

	"pytasks/cluster/secret"
)

// Config is everything a node can be told. Default gives the default of each
// field; the command line, the environment and a YAML file change them (see
// Options, which names every field once for all three).
type Config struct {
	// Name is the node's name for people, unique in the cluster. Default: the host name.
	Name string
	// DataDir is the folder of the node's log, state and identity; it is made if it
	// is absent. Default: see DefaultDataDir.
	DataDir string
	// DataPool is a folder of data directories, shared by nodes of one machine that are all
	// told the same, as the replicas of a container are: the node takes the first of Name-1,
	// Name-2, ... in it that no other node uses, in place of DataDir, and has its name.
	// Default: none.
	DataPool string
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
	// Labels say what the node has, key=value, for tasks that ask for it; what `node label` says later wins. Default:
	// none.
	Labels []string
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
	// MinFreeDisk is how many bytes are kept free on the disk of DataDir: while a voter
	// has less, the cluster takes no new tasks, so that those it has can end. A node does
	// not start below a sixteenth of it. Default 512 MiB.
	MinFreeDisk int64
	// BackupEvery is how often this node writes a snapshot of the cluster into BackupDir. Zero, the default: never.
	BackupEvery time.Duration
	// BackupKeep is how many of these it keeps there. Default 7.
	BackupKeep int
	// BackupDir is the folder; it is made if it is absent. Default, and if empty: backups in DataDir.
	BackupDir string
	// MaxBody is the largest request body in bytes, 128 MiB at most. Default 80 MiB.
	MaxBody int64
	// MaxArgs is the largest arguments of one task in bytes of JSON, 64 MiB at most. Default 64 MiB.
	MaxArgs int64
	// MaxResult is the largest result in bytes of JSON, 64 MiB at most. Default 64 MiB.
	MaxResult int64
	// TaskTimeout ends an attempt of a task that names no timeout of its own. Default 1h.
	TaskTimeout time.Duration
	// TaskMaxMemory is how many bytes the processes of one task may take together; beyond
	// it the attempt ends with the reason memory. Default 0: no limit.
	TaskMaxMemory int64
	// WorkerIdle is how long a process that runs tasks of a pack is kept while it has
	// nothing to do. Default 60s.
	WorkerIdle time.Duration
	// WorkerMaxRSS replaces a worker process that keeps more bytes of memory than that
	// after a task. Default 0: never.
	WorkerMaxRSS int64
	// Python is the interpreter of Python packs. Default python3, as found on the PATH.
	Python string
	// Packs are the names of packs to install when the node has started, as Indexes list
	// them. Default: none.
	Packs []string
	// Indexes are the URLs or files that say where the packs of a name are, asked in
	// turn. Default: none.
	Indexes []string
	// AllowPrivate lets packs be downloaded from addresses of this machine and of its
	// link. Default false.
	AllowPrivate bool
	// MaxPack is the largest archive of a pack in bytes. Default 64 MiB.
	MaxPack int64
	// PackTimeout is how long a pack may take until it can run: fetching, building its
	// environment, importing it. Default 10m.
	PackTimeout time.Duration
	// CORSOrigins lists the origins whose pages may use the API, or "*" for all; empty
	// sends no CORS headers. Default: none, so that no page which a browser on this machine
	// shows can reach a node there.
	CORSOrigins []string
	// Pprof serves /debug/pprof, and /debug/state, on the HTTP address. Default false.
	Pprof bool

	// SecretFile holds the secrets that the node honours, one in a line, the first of which
	// it uses. Default: none; then the node listens on loopback only.
	SecretFile string
	// TLSCA, TLSCert and TLSKey are PEM files of the operators' own PKI for calls between
	// nodes. Default: the node makes its certificates of the secret.
	TLSCA, TLSCert, TLSKey string
	// HTTPTLSCert and HTTPTLSKey are PEM files for HTTPS, read again on SIGHUP. Default:
	// plain HTTP.
	HTTPTLSCert, HTTPTLSKey string
	// Anonymous is what may be done without a token: none; submit, which is submitting
	// unprotected tasks and reading them by their ids; read, which is that and reading all.
	// Default: read if HTTP is a loopback address, else submit.
	Anonymous string
	// MaxConnections is how many HTTP connections are open at once. Default 4096.
	MaxConnections int
	// RateLimit is how many requests per second one address may send that is not of this
	// machine. Default 2000; zero: any number.
	RateLimit int
	// TokensExpire says whether tokens end after TokenTTL. Default true.
	TokensExpire bool
	// TokenTTL is how long a token is valid. Default 1h.
	TokenTTL time.Duration
	// JWTPrivateKey and JWTPublicKey are PEM files of the key pair of tokens, the public
	// one alone where tokens are made elsewhere. Default: the cluster makes its own.
	JWTPrivateKey, JWTPublicKey string
	// KeepAudit is how long it is kept who did what. Default 90 days.
	KeepAudit time.Duration
	// MaxAuditBytes is how much of it is kept, of submissions and of all else. Default 32 MiB.
	MaxAuditBytes int64

	// Given is what comes by the environment alone: command lines and configurations are
	// read by too many.
	Given
}

// Given holds secrets as they were given to the node. It is never printed.
type Given struct {
	Secrets       []secret.Secret // of the cluster; the first is used
	JWTPrivatePEM []byte          // of the key that tokens are signed with, nil = none
	JWTPublicPEM  []byte          // of the key that tokens are verified with, nil = that of JWTPrivatePEM
}

// FirstUser is the name of the user that a new cluster makes.
const FirstUser = "admin"

// PasswordFile holds that user's password, in the data directory of the node that made it.
const PasswordFile = "admin-password"

const (
	// maxBody bounds MaxBody: a node has a whole body in memory.
	maxBody = 128 << 20
	// maxLarge bounds MaxArgs and MaxResult: a node has a task's arguments in memory, and its
	// result, more than once while it runs.
	maxLarge = 64 << 20
)

// Default returns the configuration of a node that was told nothing.
func Default() Config {
	host, _ := os.Hostname() // an empty name is refused by Validate, with advice
	return Config{
		Name:             host,
		DataDir:          DefaultDataDir(os.Geteuid(), os.Getenv),
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
		MinFreeDisk:      512 << 20,
		BackupKeep:       7,
		MaxBody:          80 << 20,
		MaxArgs:          maxLarge,
		MaxResult:        maxLarge,
		TaskTimeout:      time.Hour,
		WorkerIdle:       time.Minute,
		Python:           "python3",
		MaxPack:          64 << 20,
		PackTimeout:      10 * time.Minute,
		MaxConnections:   4096,
		RateLimit:        2000,
		TokensExpire:     true,
		TokenTTL:         time.Hour,
		KeepAudit:        90 * 24 * time.Hour,
		MaxAuditBytes:    32 << 20,
	}
}

// DefaultDataDir is /var/lib/pytasks for root, else $XDG_DATA_HOME/pytasks or
// ~/.local/share/pytasks; empty, which Validate refuses, if there is no home either.
func DefaultDataDir(uid int, getenv func(string) string) string {
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
