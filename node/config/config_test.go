package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"pytasks/cluster/secret"
)

// load reads a configuration from all its sources.
func load(t *testing.T, args []string, env map[string]string, yaml string) (Config, error) {
	t.Helper()
	cfg := Default()
	flags := pflag.NewFlagSet("start", pflag.ContinueOnError)
	Bind(flags, &cfg)
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	path := ""
	if yaml != "" {
		path = filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := Load(flags, func(name string) string { return env[name] }, path)
	return cfg, err
}

func TestConfigPrecedence(t *testing.T) {
	name := func(c Config) any { return c.Name }
	join := func(c Config) any { return c.Join }
	for _, tt := range []struct {
		what string
		args []string
		env  map[string]string
		yaml string
		read func(Config) any
		want any
	}{
		{"default", nil, nil, "", func(c Config) any { return c.HTTP }, "127.0.0.1:8080"},
		{"file", nil, nil, "name: f", name, "f"},
		{"environment over file", nil, map[string]string{"PYTASKS_NAME": "e"}, "name: f", name, "e"},
		{"flag over environment", []string{"--name", "a"}, map[string]string{"PYTASKS_NAME": "e"}, "name: f", name, "a"},
		{"an empty variable is none", nil, map[string]string{"PYTASKS_NAME": ""}, "name: f", name, "f"},
		{"the reference's variable", nil, map[string]string{"WORKER_NAME": "w"}, "name: f", name, "w"},
		{"the own variable over it", nil, map[string]string{"WORKER_NAME": "w", "PYTASKS_NAME": "e"}, "", name, "e"},
		{"list by commas", nil, map[string]string{"PYTASKS_JOIN": "a:1, b:2"}, "join: [c:3]", join, []string{"a:1", "b:2"}},
		{"list by repetition", []string{"--join", "a:1", "--join=b:2,c:3"}, nil, "", join, []string{"a:1", "b:2", "c:3"}},
		{"list in the file", nil, nil, "join:\n  - a:1\n  - b:2\n", join, []string{"a:1", "b:2"}},
		{"list as a text in the file", nil, nil, "join: a:1,b:2", join, []string{"a:1", "b:2"}},
		{"origins replace the default", nil, map[string]string{"FRONTEND_URL": "https://a.example"}, "", func(c Config) any { return c.CORSOrigins }, []string{"https://a.example"}},
		{"origins none", nil, nil, "cors-origin: []", func(c Config) any { return len(c.CORSOrigins) }, 0},
		{"origins none by flag", []string{"--cors-origin", ""}, nil, "", func(c Config) any { return len(c.CORSOrigins) }, 0},
		{"the reference's switch", nil, map[string]string{"USE_JWT_EXPIRE": "false"}, "", func(c Config) any { return c.TokensExpire }, false},
		{"the reference's switch, in words", nil, map[string]string{"USE_JWT_EXPIRE": "Off"}, "", func(c Config) any { return c.TokensExpire }, false},
		{"the reference's seconds", nil, map[string]string{"JWT_EXPIRE_SEC": "90"}, "", func(c Config) any { return c.TokenTTL }, 90 * time.Second},
		{"the own duration over it", nil, map[string]string{"JWT_EXPIRE_SEC": "90", "PYTASKS_TOKEN_TTL": "2h"}, "", func(c Config) any { return c.TokenTTL }, 2 * time.Hour},
		{"underscores in the file", nil, nil, "data_dir: /x\nmax_finished_bytes: 2GiB\n", func(c Config) any { return []any{c.DataDir, c.MaxFinishedBytes} }, []any{"/x", int64(2 << 30)}},
		{"nothing behind a key leaves the default", nil, nil, "max-voters:\n", func(c Config) any { return c.MaxVoters }, 5},
		{"disk space to keep free", []string{"--min-free-disk", "2GiB"}, nil, "min-free-disk: 64MiB", func(c Config) any { return c.MinFreeDisk }, int64(2 << 30)},
		{"disk space in the environment", nil, map[string]string{"PYTASKS_MIN_FREE_DISK": "64MiB"}, "", func(c Config) any { return c.MinFreeDisk }, int64(64 << 20)},
		{"an empty file", nil, nil, "# nothing\n", func(c Config) any { return c.MaxVoters }, 5},
		{"labels", []string{"--label", "zone=eu,gpu=yes", "--label", "rack=1"}, nil, "label: zone=us", func(c Config) any { return c.Labels }, []string{"zone=eu", "gpu=yes", "rack=1"}},
		{"labels of the file", nil, nil, "label: [zone=us, gpu=no]", func(c Config) any { return c.Labels }, []string{"zone=us", "gpu=no"}},
		{"durations", []string{"--drain-timeout", "90s"}, nil, "keep-finished: 48h", func(c Config) any { return []any{c.DrainTimeout, c.KeepFinished} }, []any{90 * time.Second, 48 * time.Hour}},
		{"numbers", []string{"--max-finished", "2_000_000"}, map[string]string{"PYTASKS_SLOTS": "7"}, "", func(c Config) any { return []any{c.MaxFinished, c.Slots} }, []any{2000000, 7}},
		{"a switch", []string{"--pprof"}, nil, "", func(c Config) any { return c.Pprof }, true},
		{"a switch off over the file", []string{"--pprof=false"}, nil, "pprof: true", func(c Config) any { return c.Pprof }, false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			cfg, err := load(t, tt.args, tt.env, tt.yaml)
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			if got := tt.read(cfg); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestConfigSourceErrors(t *testing.T) {
	for _, tt := range []struct {
		what string
		args []string
		env  map[string]string
		yaml string
		want []string // parts of the message
	}{
		{"unknown key", nil, nil, "name: a\nslost: 3\n", []string{"node.yaml:2", `"slost"`, `did you mean "slots"`}},
		{"key twice", nil, nil, "data-dir: /a\ndata_dir: /b\n", []string{"node.yaml:2", "set twice"}},
		{"nested value", nil, nil, "http:\n  port: 8080\n", []string{"node.yaml:2", "http", "single value"}},
		{"nested list", nil, nil, "join: [[a:1]]\n", []string{"join", "plain values"}},
		{"no mapping", nil, nil, "- a\n", []string{"node.yaml:1", "slots: 4"}},
		{"no YAML", nil, nil, "name: [", []string{"node.yaml"}},
		{"number in the file", nil, nil, "slots: many", []string{"slots", `"many"`, "not a whole number"}},
		{"number in the environment", nil, map[string]string{"PYTASKS_SLOTS": "1.5"}, "", []string{"PYTASKS_SLOTS", `"1.5"`, "not a whole number"}},
		{"duration without a unit", nil, map[string]string{"PYTASKS_DRAIN_TIMEOUT": "30"}, "", []string{"PYTASKS_DRAIN_TIMEOUT", "write 30s"}},
		{"size", []string{"--max-body", "16 apples"}, nil, "", []string{"--max-body", "512MiB"}},
		{"size beyond 64 bits", []string{"--max-body", "99999999TiB"}, nil, "", []string{"--max-body", "not a size"}},
		{"switch", nil, map[string]string{"PYTASKS_PPROF": "perhaps"}, "", []string{"PYTASKS_PPROF", "neither true nor false"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := load(t, tt.args, tt.env, tt.yaml)
			if err == nil {
				t.Fatal("got no error, want one")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
		})
	}
}

func TestConfigFileAbsent(t *testing.T) {
	flags := pflag.NewFlagSet("start", pflag.ContinueOnError)
	err := Load(flags, os.Getenv, filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// TestConfigOptionsAreComplete fails when a field is added that no option sets.
func TestConfigOptionsAreComplete(t *testing.T) {
	var cfg Config
	var covered []any
	for _, o := range Options() {
		covered = append(covered, o.Field(&cfg))
	}
	v := reflect.ValueOf(&cfg).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Name == "Given" {
			continue // by the environment alone, see TestGiven
		}
		if !slices.Contains(covered, v.Field(i).Addr().Interface()) {
			t.Errorf("field %s has no option, want one in Options", v.Type().Field(i).Name)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		what   string
		change func(*Config)
		want   []string // parts of the message; none = valid
	}{
		{"the default", func(*Config) {}, nil},
		{"port 0", func(c *Config) { c.HTTP, c.Gossip, c.Cluster = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0" }, nil},
		{"other loopback addresses", func(c *Config) { c.HTTP, c.Gossip, c.Cluster = "localhost:1", "[::1]:1", "127.8.9.1:1" }, nil},
		{"join, expect", func(c *Config) { c.Join, c.BootstrapExpect = []string{"127.0.0.1:1", "b.example:2"}, 3 }, nil},
		{"hand back at once", func(c *Config) { c.DrainTimeout = 0 }, nil},
		{"empty name", func(c *Config) { c.Name = "" }, []string{"--name is empty", "--name a"}},
		{"blank in the name", func(c *Config) { c.Name = "a b" }, []string{`' ' at place 2`, "letters"}},
		{"slash in the name", func(c *Config) { c.Name = "../x" }, []string{`'.' at place 1`}},
		{"long name", func(c *Config) { c.Name = strings.Repeat("a", 64) }, []string{"64 characters", "at most 63"}},
		{"no folder", func(c *Config) { c.DataDir = "" }, []string{"--data-dir", "/var/lib/pytasks"}},
		{"no address", func(c *Config) { c.HTTP = "" }, []string{"--http is empty", "host:port"}},
		{"address without port", func(c *Config) { c.HTTP = "127.0.0.1" }, []string{"--http 127.0.0.1 is not an address", "127.0.0.1:8080"}},
		{"URL for an address", func(c *Config) { c.HTTP = "http://127.0.0.1:8080" }, []string{"--http http://127.0.0.1:8080", "host:port"}},
		{"port beyond the range", func(c *Config) { c.Gossip = "127.0.0.1:65536" }, []string{"--gossip", `"65536"`, "0 to 65535"}},
		{"port by name", func(c *Config) { c.Cluster = "127.0.0.1:http" }, []string{"--cluster", `"http"`}},
		{"one port twice", func(c *Config) { c.Gossip = c.HTTP }, []string{"--http and --gossip", "a port of its own"}},
		{"all interfaces", func(c *Config) { c.HTTP = "0.0.0.0:8080" }, []string{"--http 0.0.0.0:8080 is not a loopback address", "cluster secret", "127.0.0.1:8080"}},
		{"no host", func(c *Config) { c.Gossip = ":7946" }, []string{"--gossip :7946", "not a loopback"}},
		{"public address", func(c *Config) { c.Cluster = "192.0.2.1:7947" }, []string{"--cluster 192.0.2.1:7947", "not a loopback"}},
		{"unspecified IPv6", func(c *Config) { c.HTTP = "[::]:8080" }, []string{"--http [::]:8080", "not a loopback"}},
		{"a name that may be anything", func(c *Config) { c.HTTP = "host.example:8080" }, []string{"not a loopback"}},
		{"advertise with a port", func(c *Config) { c.Advertise = "127.0.0.1:7947" }, []string{"--advertise", "host alone"}},
		{"advertise elsewhere", func(c *Config) { c.Advertise = "192.0.2.1" }, []string{"--advertise 192.0.2.1", "leave it out"}},
		{"label without value", func(c *Config) { c.Labels = []string{"zone"} }, []string{"--label zone", "zone=eu"}},
		{"label of odd letters", func(c *Config) { c.Labels = []string{"zone=e u"} }, []string{"--label zone=e u", "A-Z a-z"}},
		{"label twice", func(c *Config) { c.Labels = []string{"zone=eu", "zone=us"} }, []string{"--label zone=us", "twice"}},
		{"join without port", func(c *Config) { c.Join = []string{"127.0.0.1"} }, []string{"--join 127.0.0.1", "127.0.0.1:7946"}},
		{"join port 0", func(c *Config) { c.Join = []string{"127.0.0.1:0"} }, []string{"--join 127.0.0.1:0"}},
		{"expect without join", func(c *Config) { c.BootstrapExpect = 3 }, []string{"--bootstrap-expect 3 needs --join"}},
		{"negative expect", func(c *Config) { c.BootstrapExpect = -1 }, []string{"--bootstrap-expect -1"}},
		{"no slots", func(c *Config) { c.Slots = 0 }, []string{"--slots 0", "at least one"}},
		{"negative slots", func(c *Config) { c.Slots = -4 }, []string{"--slots -4"}},
		{"even voters", func(c *Config) { c.MaxVoters = 4 }, []string{"--max-voters 4 is even", "3 or 5"}},
		{"no voters", func(c *Config) { c.MaxVoters = 0 }, []string{"--max-voters 0", "1, 3, 5"}},
		{"largest body", func(c *Config) { c.MaxBody = 128 << 20 }, nil},
		{"no disk space to keep free", func(c *Config) { c.MinFreeDisk = 0 }, []string{"--min-free-disk", "512MiB"}},
		{"body too large", func(c *Config) { c.MaxBody = 128<<20 + 1 }, []string{"--max-body", "write 128MiB at most"}},
		{"no arguments", func(c *Config) { c.MaxArgs = 0 }, []string{"--max-args 0", "64MiB"}},
		{"arguments too large", func(c *Config) { c.MaxArgs = 65 << 20 }, []string{"--max-args", "write 64MiB at most"}},
		{"result too large", func(c *Config) { c.MaxResult = 65 << 20 }, []string{"--max-result", "write 64MiB at most"}},
		{"negative drain", func(c *Config) { c.DrainTimeout = -1 }, []string{"--drain-timeout", "0s"}},
		{"keep nothing", func(c *Config) { c.KeepFinished = 0 }, []string{"--keep-finished", "24h"}},
		{"no queue", func(c *Config) { c.MaxQueued = 0 }, []string{"--max-queued 0", "500000"}},
		{"log level", func(c *Config) { c.LogLevel = "loud" }, []string{"--log-level", "debug, info, warn or error"}},
		{"log format", func(c *Config) { c.LogFormat = "xml" }, []string{"--log-format", "text or json"}},
		{"all interfaces, with a secret", func(c *Config) {
			c.HTTP, c.Gossip, c.Cluster, c.Advertise = "0.0.0.0:8080", ":7946", "192.0.2.1:7947", "192.0.2.1"
			c.Secrets = []secret.Secret{secret.New()}
		}, nil},
		{"half of an own PKI", func(c *Config) { c.TLSCA, c.TLSCert = "a", "b" }, []string{"--tls-key belong together"}},
		{"an own PKI without a secret", func(c *Config) { c.TLSCA, c.TLSCert, c.TLSKey = "a", "b", "c" }, []string{"--tls-cert needs a secret", "pytasks secret new"}},
		{"half of HTTPS", func(c *Config) { c.HTTPTLSCert = "a" }, []string{"--http-tls-cert and --http-tls-key"}},
		{"what the anonymous may do", func(c *Config) { c.Anonymous = "all" }, []string{"--anonymous", "none, submit or read"}},
		{"negative rate", func(c *Config) { c.RateLimit = -1 }, []string{"--rate-limit -1"}},
		{"no connections", func(c *Config) { c.MaxConnections = 0 }, []string{"--max-connections 0"}},
		{"tokens that end at once", func(c *Config) { c.TokenTTL = 0 }, []string{"--token-ttl", "1h"}},
		{"keep no audit", func(c *Config) { c.KeepAudit = 0 }, []string{"--keep-audit"}},
		{"origin without scheme", func(c *Config) { c.CORSOrigins = []string{"a.example"} }, []string{"--cors-origin", "https://app.example.com"}},
		{"origin with a path", func(c *Config) { c.CORSOrigins = []string{"https://a.example/x"} }, []string{"not an origin"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			cfg := Default()
			cfg.Name, cfg.DataDir = "a", "/tmp/a"
			tt.change(&cfg)
			err := cfg.Validate()
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			for _, part := range tt.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %q in it", err, part)
				}
			}
		})
	}
}

func TestDefaultDataDir(t *testing.T) {
	for _, tt := range []struct {
		uid  int
		env  map[string]string
		want string
	}{
		{0, map[string]string{"HOME": "/root"}, "/var/lib/pytasks"},
		{1000, map[string]string{"HOME": "/people/u"}, "/people/u/.local/share/pytasks"},
		{1000, map[string]string{"HOME": "/people/u", "XDG_DATA_HOME": "/data"}, "/data/pytasks"},
		{1000, map[string]string{"HOME": "/people/u", "XDG_DATA_HOME": "data"}, "/people/u/.local/share/pytasks"},
		{1000, nil, ""},
	} {
		if got := DefaultDataDir(tt.uid, func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("user %d with %v: got %q, want %q", tt.uid, tt.env, got, tt.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1048576": 1 << 20, "512MiB": 512 << 20, "4 GiB": 4 << 30, "2gb": 2e9, "1_000": 1000, "7B": 7} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q): got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5GiB", "ten"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q): got %d, want an error", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1000: "1000", 4 << 30: "4GiB", 1536: "1536", 3 << 10: "3KiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d): got %q, want %q", n, got, want)
		}
	}
}
