package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"pytasks/fsm"
)

// minTaskMemory is the least limit of a task's memory that leaves room for an interpreter, in bytes.
const minTaskMemory = 32 << 20

// minBackupEvery is more than the names of backups can tell apart.
const minBackupEvery = 2 * time.Second

// Validate returns the first fault of the configuration, as a sentence that says what
// to write instead.
func (c *Config) Validate() error {
	if err := checkNodeName(c.Name); err != nil {
		return err
	}
	if c.DataDir == "" {
		return fmt.Errorf("--data-dir is empty and there is no home directory to default to; name a folder, such as --data-dir /var/lib/pytasks")
	}
	for _, a := range []struct{ flag, addr string }{{"--http", c.HTTP}, {"--gossip", c.Gossip}, {"--cluster", c.Cluster}} {
		if err := checkListen(a.flag, a.addr, len(c.Secrets) > 0); err != nil {
			return err
		}
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	if err := checkAdvertise(c.Advertise, len(c.Secrets) > 0); err != nil {
		return err
	}
	for _, addr := range c.Join {
		if err := checkAddr("--join", addr, "127.0.0.1:7946"); err != nil {
			return err
		}
		if strings.HasSuffix(addr, ":0") || strings.HasPrefix(addr, ":") {
			return fmt.Errorf("--join %s is not an address to reach another node at; write its host and gossip port, such as 127.0.0.1:7946", addr)
		}
	}
	if err := c.checkNumbers(); err != nil {
		return err
	}
	if err := c.checkKeys(); err != nil {
		return err
	}
	return c.checkWords()
}

// checkKeys judges the files of certificates and keys, as far as they are given together.
func (c *Config) checkKeys() error {
	own := c.TLSCA != "" || c.TLSCert != "" || c.TLSKey != ""
	switch {
	case own && (c.TLSCA == "" || c.TLSCert == "" || c.TLSKey == ""):
		return fmt.Errorf("--tls-ca, --tls-cert and --tls-key belong together; give all three, or none to have the node make its certificates of the secret")
	case own && len(c.Secrets) == 0:
		return fmt.Errorf("--tls-cert needs a secret as well, which encrypts gossip: make one with `pytasks secret new FILE`, and give all nodes --secret-file FILE")
	case (c.HTTPTLSCert == "") != (c.HTTPTLSKey == ""):
		return fmt.Errorf("--http-tls-cert and --http-tls-key belong together; give both, or none for plain HTTP")
	}
	return nil
}

func (c *Config) checkNumbers() error {
	if c.BootstrapExpect < 0 {
		return fmt.Errorf("--bootstrap-expect %d is negative; write the number of nodes that found the cluster together, or leave it out", c.BootstrapExpect)
	}
	if c.BootstrapExpect > 1 && len(c.Join) == 0 {
		return fmt.Errorf("--bootstrap-expect %d needs --join with the gossip addresses of all %d nodes, the same list on each", c.BootstrapExpect, c.BootstrapExpect)
	}
	if c.Slots < 1 {
		return fmt.Errorf("--slots %d: a node runs at least one task at a time; leave it out for one slot per CPU", c.Slots)
	}
	if c.MaxVoters < 1 {
		return fmt.Errorf("--max-voters %d: a cluster has at least one voter; write 1, 3, 5 or 7", c.MaxVoters)
	}
	if c.MaxVoters%2 == 0 {
		return fmt.Errorf("--max-voters %d is even, which survives no more failures than %d; write %d or %d", c.MaxVoters, c.MaxVoters-1, c.MaxVoters-1, c.MaxVoters+1)
	}
	if c.BackupEvery < 0 || c.BackupEvery > 0 && c.BackupEvery < minBackupEvery {
		return fmt.Errorf("--backup-every %s is too short; write %s or more, such as 6h, or 0 for no backups", c.BackupEvery, minBackupEvery)
	}
	if c.DrainTimeout < 0 {
		return fmt.Errorf("--drain-timeout %s is negative; write 0s to hand running tasks back at once", c.DrainTimeout)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		like  string
	}{{"--keep-finished", c.KeepFinished, "24h"}, {"--task-timeout", c.TaskTimeout, "1h"},
		{"--worker-idle", c.WorkerIdle, "60s"}, {"--pack-timeout", c.PackTimeout, "10m"},
		{"--token-ttl", c.TokenTTL, "1h"}, {"--keep-audit", c.KeepAudit, "2160h"}} {
		if d.value <= 0 {
			return fmt.Errorf("%s %s is not longer than zero; write a duration such as %s", d.flag, d.value, d.like)
		}
	}
	for _, n := range []struct {
		flag  string
		value int64
		like  string
	}{
		{"--max-finished", int64(c.MaxFinished), "1000000"},
		{"--max-finished-bytes", c.MaxFinishedBytes, "4GiB"},
		{"--max-queued", int64(c.MaxQueued), "500000"},
		{"--max-queued-bytes", c.MaxQueuedBytes, "1GiB"},
		{"--min-free-disk", c.MinFreeDisk, "512MiB"},
		{"--backup-keep", int64(c.BackupKeep), "7"},
		{"--max-body", c.MaxBody, "80MiB"},
		{"--max-args", c.MaxArgs, "64MiB"},
		{"--max-result", c.MaxResult, "64MiB"},
		{"--max-pack", c.MaxPack, "64MiB"},
		{"--max-connections", int64(c.MaxConnections), "4096"},
		{"--max-audit-bytes", c.MaxAuditBytes, "32MiB"},
	} {
		if n.value < 1 {
			return fmt.Errorf("%s %d is less than one; write a number such as %s", n.flag, n.value, n.like)
		}
	}
	if c.TaskMaxMemory < 0 || c.TaskMaxMemory > 0 && c.TaskMaxMemory < minTaskMemory {
		return fmt.Errorf("--task-max-memory %d is less than an interpreter needs; write %dMiB or more, or 0 for no limit", c.TaskMaxMemory, minTaskMemory>>20)
	}
	if c.WorkerMaxRSS < 0 {
		return fmt.Errorf("--worker-max-rss %d is negative; write a size such as 512MiB, or 0 for no limit", c.WorkerMaxRSS)
	}
	if err := c.checkLabels(); err != nil {
		return err
	}
	if len(c.Packs) > 0 && len(c.Indexes) == 0 {
		return fmt.Errorf("--packs %s needs --index, the URL or file of a list that says where these packs are", strings.Join(c.Packs, ","))
	}
	for _, n := range []struct {
		flag       string
		value, max int64
	}{{"--max-body", c.MaxBody, maxBody}, {"--max-args", c.MaxArgs, maxLarge}, {"--max-result", c.MaxResult, maxLarge}} {
		if n.value > n.max {
			return fmt.Errorf("%s %d is too large, as a node has all of it in memory; write %dMiB at most", n.flag, n.value, n.max>>20)
		}
	}
	return nil
}

func (c *Config) checkWords() error {
	if !slices.Contains([]string{"", "none", "submit", "read"}, c.Anonymous) {
		return fmt.Errorf("--anonymous %q is unknown; write none, submit or read", c.Anonymous)
	}
	if c.RateLimit < 0 {
		return fmt.Errorf("--rate-limit %d is negative; write requests per second, or 0 for any number", c.RateLimit)
	}
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, c.LogLevel) {
		return fmt.Errorf("--log-level %q is unknown; write debug, info, warn or error", c.LogLevel)
	}
	if c.Python == "" {
		return fmt.Errorf("--python is empty; write the interpreter of Python packs, such as python3, or leave it out")
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("--log-format %q is unknown; write text or json", c.LogFormat)
	}
	for _, origin := range c.CORSOrigins {
		scheme, host, ok := strings.Cut(origin, "://")
		if origin != "*" && (!ok || scheme == "" || host == "" || strings.ContainsAny(host, "/*?# ")) {
			return fmt.Errorf("--cors-origin %q is not an origin; write scheme and host as in https://app.example.com, or * for all", origin)
		}
	}
	return nil
}

// checkPorts refuses two listeners on one address.
func (c *Config) checkPorts() error {
	taken := map[string]string{}
	for _, a := range []struct{ flag, addr string }{{"--http", c.HTTP}, {"--gossip", c.Gossip}, {"--cluster", c.Cluster}} {
		if other, twice := taken[a.addr]; twice && !strings.HasSuffix(a.addr, ":0") {
			return fmt.Errorf("%s and %s are both %s; give each a port of its own", other, a.flag, a.addr)
		}
		taken[a.addr] = a.flag
	}
	return nil
}

func checkNodeName(name string) error {
	if name == "" {
		return fmt.Errorf("--name is empty; give the node a name that no other node has, such as --name a")
	}
	if len(name) > 63 {
		return fmt.Errorf("--name %s... is %d characters long; write at most 63", name[:20], len(name))
	}
	for i, r := range name {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !plain && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fmt.Errorf("--name %q holds %q at place %d; write letters, digits, dots, dashes and underscores, a letter or digit first", name, r, i+1)
		}
	}
	return nil
}

// checkListen judges an address to listen on. Without a secret, which keeps strangers from
// running tasks, that is loopback.
func checkListen(flag, addr string, secret bool) error {
	if err := checkAddr(flag, addr, "127.0.0.1:8080"); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	if !secret && !IsLoopback(host) {
		return fmt.Errorf("%s %s is not a loopback address; without a cluster secret pytasks listens on loopback only: write %s 127.0.0.1:%s, or make a secret once with `pytasks secret new FILE` and give all nodes --secret-file FILE",
			flag, addr, flag, port)
	}
	return nil
}

func checkAdvertise(host string, secret bool) error {
	if host == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(host); err == nil {
		return fmt.Errorf("--advertise %s has a port; write the host alone, the ports are those of --gossip and --cluster (%s left out)", host, port)
	}
	if !secret && !IsLoopback(host) {
		return fmt.Errorf("--advertise %s is not a loopback address; without a cluster secret pytasks listens on loopback only, so nobody could reach the node there: leave it out", host)
	}
	return nil
}

func checkAddr(flag, addr, like string) error {
	if addr == "" {
		return fmt.Errorf("%s is empty; write host:port, such as %s", flag, like)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s %s is not an address; write host:port, such as %s", flag, addr, like)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s %s: %q is not a port; write a number from 0 to 65535, such as %s", flag, addr, port, like)
	}
	if strings.ContainsAny(host, " /@?#\"'") {
		return fmt.Errorf("%s %s: %q is not a host; write host:port, such as %s", flag, addr, host, like)
	}
	return nil
}

// IsLoopback reports whether a host surely means this machine alone: names other than
// localhost may resolve to anything.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkLabels says what is wrong with the configured labels.
func (c Config) checkLabels() error {
	seen := map[string]bool{}
	for _, text := range c.Labels {
		key, value, ok := strings.Cut(text, "=")
		switch {
		case !ok || !fsm.ValidLabel(key) || !fsm.ValidLabel(value):
			return fmt.Errorf("--label %s is no label; write key=value, each 1 to 63 characters of A-Z a-z 0-9 . _ / -, such as zone=eu", text)
		case seen[key]:
			return fmt.Errorf("--label %s: the key %s is there twice; keep one of the two", text, key)
		}
		seen[key] = true
	}
	if len(seen) > fsm.MaxLabels {
		return fmt.Errorf("--label: %d labels are more than the %d that a node may have", len(seen), fsm.MaxLabels)
	}
	return nil
}
