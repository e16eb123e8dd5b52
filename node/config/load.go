package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Option names one field of Config in every place where it can be set: --name
// on the command line, PYTASKS_NAME in the environment, name in the file.
type Option struct {
	Name  string
	alias string // a variable of the reference that is honoured too; "NAME:s" = in seconds
	usage string
	Field func(*Config) any
}

// Options returns all of them, in the order of the help text.
func Options() []Option {
	return []Option{
		{"name", "WORKER_NAME", "name of this node, unique in the cluster", func(c *Config) any { return &c.Name }},
		{"data-dir", "", "folder of the node's log, state and identity", func(c *Config) any { return &c.DataDir }},
		{"data-pool", "", "folder in which a node takes the first free data directory, NAME-1, NAME-2, ..., and its name", func(c *Config) any { return &c.DataPool }},
		{"http", "", "host:port of the REST API", func(c *Config) any { return &c.HTTP }},
		{"gossip", "", "host:port on which nodes find each other", func(c *Config) any { return &c.Gossip }},
		{"cluster", "", "host:port of calls between nodes", func(c *Config) any { return &c.Cluster }},
		{"advertise", "", "host at which other nodes reach this one, that of --cluster unless told", func(c *Config) any { return &c.Advertise }},
		{"join", "", "gossip addresses of nodes to join, host:port[,...]", func(c *Config) any { return &c.Join }},
		{"bootstrap-expect", "", "found the cluster together with so many nodes that have the same --join", func(c *Config) any { return &c.BootstrapExpect }},
		{"slots", "", "tasks that run at once, one per CPU unless told", func(c *Config) any { return &c.Slots }},
		{"label", "", "labels of this node that tasks may ask for, key=value[,...]", func(c *Config) any { return &c.Labels }},
		{"max-voters", "", "most nodes that vote, an odd number", func(c *Config) any { return &c.MaxVoters }},
		{"log-level", "", "debug, info, warn or error", func(c *Config) any { return &c.LogLevel }},
		{"log-format", "", "text or json", func(c *Config) any { return &c.LogFormat }},
		{"drain-timeout", "", "time that running tasks get when the node is stopped", func(c *Config) any { return &c.DrainTimeout }},
		{"keep-finished", "", "how long finished tasks are kept", func(c *Config) any { return &c.KeepFinished }},
		{"max-finished", "", "most finished tasks that are kept", func(c *Config) any { return &c.MaxFinished }},
		{"max-finished-bytes", "", "most bytes of finished tasks that are kept", func(c *Config) any { return &c.MaxFinishedBytes }},
		{"max-queued", "", "most unfinished tasks that are taken", func(c *Config) any { return &c.MaxQueued }},
		{"max-queued-bytes", "", "most bytes of unfinished tasks that are taken", func(c *Config) any { return &c.MaxQueuedBytes }},
		{"min-free-disk", "", "disk space to keep free; a voter with less stops new tasks", func(c *Config) any { return &c.MinFreeDisk }},
		{"backup-every", "", "how often this node saves the cluster into --backup-dir, 0 for never", func(c *Config) any { return &c.BackupEvery }},
		{"backup-keep", "", "most snapshots that are kept there", func(c *Config) any { return &c.BackupKeep }},
		{"backup-dir", "", "folder of these snapshots, backups in --data-dir unless told", func(c *Config) any { return &c.BackupDir }},
		{"max-body", "", "largest request body", func(c *Config) any { return &c.MaxBody }},
		{"max-args", "", "largest arguments of a task", func(c *Config) any { return &c.MaxArgs }},
		{"max-result", "", "largest result of a task", func(c *Config) any { return &c.MaxResult }},
		{"task-timeout", "", "longest run of a task that names no timeout", func(c *Config) any { return &c.TaskTimeout }},
		{"task-max-memory", "", "memory that the processes of one task may take, 0 for no limit", func(c *Config) any { return &c.TaskMaxMemory }},
		{"worker-idle", "", "how long a process of a pack waits for its next task", func(c *Config) any { return &c.WorkerIdle }},
		{"worker-max-rss", "", "memory that a process of a pack may keep between tasks, 0 for no limit", func(c *Config) any { return &c.WorkerMaxRSS }},
		{"python", "", "interpreter of Python packs", func(c *Config) any { return &c.Python }},
		{"packs", "", "packs to install on start, by their names in --index", func(c *Config) any { return &c.Packs }},
		{"index", "", "URLs or files that list packs by name", func(c *Config) any { return &c.Indexes }},
		{"allow-private", "", "let packs be downloaded from this machine and its link", func(c *Config) any { return &c.AllowPrivate }},
		{"max-pack", "", "largest archive of a pack", func(c *Config) any { return &c.MaxPack }},
		{"pack-timeout", "", "longest time until a pack can run", func(c *Config) any { return &c.PackTimeout }},
		{"cors-origin", "FRONTEND_URL", "origins whose pages may use the API, * for all, empty for none", func(c *Config) any { return &c.CORSOrigins }},
		{"secret-file", "", "file with the cluster's secret; PYTASKS_SECRET is the secret itself", func(c *Config) any { return &c.SecretFile }},
		{"tls-ca", "", "own certificate authority for calls between nodes, PEM", func(c *Config) any { return &c.TLSCA }},
		{"tls-cert", "", "certificate of this node of that authority, PEM", func(c *Config) any { return &c.TLSCert }},
		{"tls-key", "", "key of that certificate, PEM", func(c *Config) any { return &c.TLSKey }},
		{"http-tls-cert", "", "certificate for HTTPS, PEM, read again on SIGHUP", func(c *Config) any { return &c.HTTPTLSCert }},
		{"http-tls-key", "", "key of that certificate, PEM", func(c *Config) any { return &c.HTTPTLSKey }},
		{"anonymous", "", "what may be done without a token: none, submit or read", func(c *Config) any { return &c.Anonymous }},
		{"max-connections", "", "most HTTP connections at once", func(c *Config) any { return &c.MaxConnections }},
		{"rate-limit", "", "requests per second of one address of other machines, 0 for any number", func(c *Config) any { return &c.RateLimit }},
		{"tokens-expire", "USE_JWT_EXPIRE", "whether tokens end after --token-ttl", func(c *Config) any { return &c.TokensExpire }},
		{"token-ttl", "JWT_EXPIRE_SEC:s", "how long a token is valid", func(c *Config) any { return &c.TokenTTL }},
		{"jwt-private-key", "", "key that signs tokens, PEM; JWT_PRIVATE_PEM is the text itself", func(c *Config) any { return &c.JWTPrivateKey }},
		{"jwt-public-key", "", "key that verifies tokens, PEM; JWT_PUBLIC_PEM is the text itself", func(c *Config) any { return &c.JWTPublicKey }},
		{"keep-audit", "", "how long it is kept who did what", func(c *Config) any { return &c.KeepAudit }},
		{"max-audit-bytes", "", "most bytes of that, of submissions and of all else", func(c *Config) any { return &c.MaxAuditBytes }},
		{"pprof", "", "serve profiles at /debug/pprof, a digest of the state at /debug/state", func(c *Config) any { return &c.Pprof }},
	}
}

// Bind adds a flag for every option, or for those named, which sets its field of cfg.
func Bind(flags *pflag.FlagSet, cfg *Config, names ...string) {
	for _, o := range Options() {
		if len(names) > 0 && !slices.Contains(names, o.Name) {
			continue
		}
		v := &setting{ptr: o.Field(cfg)}
		f := flags.VarPF(v, o.Name, "", fmt.Sprintf("%s [$%s]", o.usage, o.Env()))
		if _, ok := v.ptr.(*bool); ok {
			f.NoOptDefVal = "true"
		}
	}
}

// Load sets what the flags, parsed already, left open: from the environment,
// else from the YAML file at path, if there is one. Its errors name the place of the fault.
func Load(flags *pflag.FlagSet, getenv func(string) string, path string) error {
	file, err := ReadConfigFile(path)
	if err != nil {
		return err
	}
	for _, o := range Options() {
		f := flags.Lookup(o.Name)
		if f == nil || f.Changed {
			continue
		}
		values, source := file[o.Name], path+": "+o.Name
		alias, unit, _ := strings.Cut(o.alias, ":")
		if text := getenv(alias); alias != "" && text != "" {
			values, source = []string{text + unit}, alias
		}
		if text := getenv(o.Env()); text != "" {
			values, source = []string{text}, o.Env()
		}
		for _, text := range values {
			if err := f.Value.Set(text); err != nil {
				return fmt.Errorf("%s: %q %w", source, text, err)
			}
		}
	}
	return nil
}

// env is the option's name in the environment.
func (o Option) Env() string {
	return "PYTASKS_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// ReadConfigFile returns the values of a YAML file by option, none for an empty path.
// An empty list is one empty value.
func ReadConfigFile(path string) (map[string][]string, error) {
	values := map[string][]string{}
	if path == "" {
		return values, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	if doc.IsZero() {
		return values, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: write one `option: value` per line, such as `slots: 4`", path, top.Line)
	}
	var known []string
	for _, o := range Options() {
		known = append(known, o.Name)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		name := strings.ReplaceAll(key.Value, "_", "-")
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s:%d: there is no option %q%s", path, key.Line, key.Value, DidYouMean(name, known))
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("%s:%d: %q is set twice; keep one of the two", path, key.Line, key.Value)
		}
		if values[name], err = yamlValues(value); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", path, value.Line, key.Value, err)
		}
	}
	return values, nil
}

func yamlValues(n *yaml.Node) ([]string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		if n.Tag == "!!null" {
			return nil, nil // `join:` with nothing behind it leaves the default
		}
		return []string{n.Value}, nil
	}
	if n.Kind != yaml.SequenceNode {
		return nil, errors.New("write a single value or a list of values")
	}
	values := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			return nil, errors.New("write a list of plain values")
		}
		values = append(values, item.Value)
	}
	if len(values) == 0 {
		values = []string{""}
	}
	return values, nil
}
