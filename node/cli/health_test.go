package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pytasks/node/client"
	"pytasks/node/client/clienttest"
)

// TestHealth asks nodes that are well, that are not, and that are not there, as health checks do.
func TestHealth(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("[-]leader failed: no leader is known\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	plain, safe := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer plain.Close()
	defer safe.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(plain.URL, "http://"), ":")
	everywhere := map[string]string{"PYTASKS_HTTP": "0.0.0.0:" + port}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"alive, as the node listens":  {everywhere, nil, ExitOK, "ok"},
		"alive, without a host":       {map[string]string{"PYTASKS_HTTP": ":" + port}, nil, ExitOK, "ok"},
		"not ready":                   {everywhere, []string{"--ready"}, ExitFailed, "no leader is known"},
		"a given address wins":        {map[string]string{"PYTASKS_HTTP": strings.TrimPrefix(clienttest.DeadAddr(t), "http://")}, []string{"--addr", plain.URL}, ExitOK, "ok"},
		"with a certificate":          {map[string]string{"PYTASKS_HTTP": strings.TrimPrefix(safe.URL, "https://"), "PYTASKS_HTTP_TLS_CERT": "cert.pem"}, nil, ExitOK, "ok"},
		"nobody there":                {map[string]string{"PYTASKS_HTTP": strings.TrimPrefix(clienttest.DeadAddr(t), "http://")}, nil, ExitUnreachable, "cannot reach"},
		"no address":                  {map[string]string{"PYTASKS_HTTP": "no port"}, nil, ExitUsage, "--addr"},
		"a word that is not expected": {everywhere, []string{"more"}, ExitUsage, "takes no arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runCLI(t, c.env, append([]string{"node", "health"}, c.args...)...)
			if code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("exit code %d, %q, want %d and %q", code, out+errs, c.code, c.says)
			}
		})
	}
	if got := ownURL(func(string) string { return "" }); got != client.DefaultAddr {
		t.Errorf("without a word it is %s, want %s", got, client.DefaultAddr)
	}
}
