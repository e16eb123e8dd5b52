package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pytasks/node/config"
)

// A node leaves a token for the command line of the user who runs it, on this machine, under its
// HTTP address: who can read it could read the node's data as well. It is worth nothing once the node
// has stopped, and elsewhere.

// LocalTokenDir is the folder of these tokens.
func LocalTokenDir(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "pytasks")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("pytasks-%d", os.Geteuid()))
}

// checkOwnDir refuses a folder that another user could have made.
func checkOwnDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a folder of this user alone", dir)
	}
	return nil
}

// localTokenFile is the name of the token of the node that listens on addr, host:port.
func localTokenFile(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
		host = "local"
		if ip != nil && ip.IsLoopback() && !ip.Equal(net.IPv4(127, 0, 0, 1)) && !ip.Equal(net.IPv6loopback) {
			host = ip.String()
		}
	}
	return strings.ReplaceAll(host, ":", "_") + "_" + port
}

// LeaveLocalToken writes a new token for the node that listens on addr, and returns what removes it.
func LeaveLocalToken(dir, addr string) (token string, remove func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	if err := checkOwnDir(dir); err != nil {
		return "", nil, err
	}
	token = "local-" + rand.Text()
	file := filepath.Join(dir, localTokenFile(addr))
	if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o600); err != nil {
		return "", nil, err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return "", nil, err
	}
	return token, func() error {
		if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != token {
			return nil // another node listens there by now
		}
		return os.Remove(file)
	}, nil
}

// ReadLocalToken returns the token of the node at a base URL, "" if there is none.
func ReadLocalToken(dir, base string) string {
	u, err := url.Parse(base)
	if err != nil || !config.IsLoopback(u.Hostname()) || checkOwnDir(dir) != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	text, err := os.ReadFile(filepath.Join(dir, localTokenFile(net.JoinHostPort(u.Hostname(), port))))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return strings.TrimSpace(string(text))
}
