package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

// healthTimeout bounds the question of `node health`.
const healthTimeout = 5 * time.Second

func (c *cli) nodeHealthCommand() *cobra.Command {
	var addr string
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the node on this machine whether it lives, for health checks of containers",
		Long: `Ask the node on this machine whether it lives: GET /livez, or /readyz with --ready, and print
the answer. The exit code is 0 if all is well, 1 if the node says that it is not, and 3 if it does not
answer. It is for health checks where there is no curl. Without --addr it asks at the address that a node in the
same environment listens on, PYTASKS_HTTP.`,
		Args: exactly(),
	}
	cmd.Flags().StringVar(&addr, "addr", "", "URL of the node [$PYTASKS_HTTP] (default "+client.DefaultAddr+")")
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it takes requests, too: there is a leader, and the disk has room")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if addr == "" {
			addr = ownURL(c.getenv)
		}
		base, err := client.BaseURL(addr)
		if err != nil {
			return &usageError{fmt.Errorf("--addr: %w", err)}
		}
		path := "/livez"
		if ready {
			path = "/readyz"
		}
		return c.health(cmd.Context(), base, path)
	}
	return cmd
}

// ownURL is where a node that is started in the same environment serves HTTP, "" for the default.
func ownURL(getenv func(string) string) string {
	listen := getenv("PYTASKS_HTTP")
	if listen == "" {
		return client.DefaultAddr
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // baseURL says what is wrong with it
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if getenv("PYTASKS_HTTP_TLS_CERT") != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// health asks one node one question, and prints the answer.
func (c *cli) health(ctx context.Context, base, path string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return &usageError{fmt.Errorf("--addr: %w", err)}
	}
	// The certificate names the node as others reach it, not 127.0.0.1; nothing secret is sent.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return &client.UnreachableError{Addrs: []string{base}, Err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return &client.UnreachableError{Addrs: []string{base}, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s answered %s: %s", base, path, resp.Status, strings.TrimSpace(string(text)))
	}
	_, err = fmt.Fprintln(c.out, strings.TrimSpace(string(text)))
	return err
}
