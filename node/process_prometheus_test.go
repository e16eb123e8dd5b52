package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// needPrometheus returns the folder with Debian's prometheus and promtool: an empty string where they are on the PATH; else that of the
// package, unpacked and not installed, as it would start a service. It skips a test where the package cannot be had.
func needPrometheus(t *testing.T) (dir string) {
	t.Helper()
	_, err := exec.LookPath("prometheus")
	if _, tool := exec.LookPath("promtool"); err == nil && tool == nil {
		return ""
	}
	dir = t.TempDir()
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := run("apt-get", "download", "prometheus"); err != nil {
		if os.Geteuid() != 0 {
			t.Skipf("no prometheus on the PATH: %v", err)
		}
		if err = run("apt-get", "update"); err == nil {
			err = run("apt-get", "download", "prometheus")
		}
		if err != nil {
			t.Skipf("no prometheus on the PATH: %v", err)
		}
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(found) != 1 {
		t.Fatalf("apt-get has downloaded %v", found)
	}
	if err := run("dpkg-deb", "-x", found[0], "."); err != nil {
		t.Skip(err)
	}
	return filepath.Join(dir, "usr", "bin")
}

// watcher is a Prometheus that watches a cluster.
type watcher struct {
	t   *testing.T
	url string
}

// changed returns a file of deploy/ with parts replaced, all of which must be there.
func changed(t *testing.T, name string, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for i := 0; i < len(parts); i += 2 {
		part := regexp.MustCompile(parts[i])
		if !part.MatchString(out) {
			t.Fatalf("%s has no %s", name, part)
		}
		out = part.ReplaceAllString(out, parts[i+1])
	}
	return out
}

// startPrometheus starts one with the files of deploy/, but that it looks more often and is told the nodes.
func startPrometheus(t *testing.T, program string, ps processes, password string) *watcher {
	t.Helper()
	dir := t.TempDir()
	var targets []string
	for _, p := range ps {
		targets = append(targets, strings.TrimPrefix(p.http, "http://"))
	}
	secret := filepath.Join(dir, "password")
	for path, text := range map[string]string{
		"password": password + "\n",
		"prometheus.yml": changed(t, "prometheus.yml", "/run/secrets/prometheus_password", secret,
			"(?s)    dns_sd_configs:.*?refresh_interval: 15s\n", "    static_configs:\n      - targets: ["+strings.Join(targets, ", ")+"]\n",
			"_interval: 15s", "_interval: 500ms"),
		"alerts.yml": changed(t, "alerts.yml", "for: (30s|1m|2m)", "for: 1s"),
	} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := testAddrs(t, 1)[0]
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", addr)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the log of prometheus:\n%s", tail(string(text), 30))
		}
	})
	return &watcher{t, "http://" + addr}
}

// get reads an answer of Prometheus' API.
func (p *watcher) get(path string, into any) error {
	resp, err := testHTTP.Get(p.url + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var a struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if a.Status != "success" {
		return fmt.Errorf("%s: %s", path, a.Error)
	}
	return json.Unmarshal(a.Data, into)
}

// series is one of the results of a query.
type series struct {
	Metric map[string]string
	Value  [2]any // time, value as text
}

func (s series) value() string { return fmt.Sprint(s.Value[1]) }

func (p *watcher) query(expr string) (out []series, err error) {
	var data struct{ Result []series }
	err = p.get("/api/v1/query?query="+url.QueryEscape(expr), &data)
	return data.Result, err
}

// gives waits until a query gives one value.
func (p *watcher) gives(expr, want string) {
	p.t.Helper()
	eventually(p.t, 30*time.Second, expr+" is "+want, func() error {
		got, err := p.query(expr)
		if err == nil && (len(got) != 1 || got[0].value() != want) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	})
}

// firing returns the names of the alerts that fire.
func (p *watcher) firing() map[string]bool {
	p.t.Helper()
	got, err := p.query(`ALERTS{alertstate="firing"}`)
	if err != nil {
		p.t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range got {
		names[s.Metric["alertname"]] = true
	}
	return names
}

// prometheusWatches has a real Prometheus watch a cluster by the files of deploy/, and kills a node.
func prometheusWatches(t *testing.T, ps processes, password string) {
	bin := needPrometheus(t)
	ps.within(t)
	var page sync.WaitGroup
	defer page.Wait()
	page.Go(func() { monitoringPage(t, bin, ps[0]) })
	p := startPrometheus(t, filepath.Join(bin, "prometheus"), ps, password)
	p.gives(`count(up{job="pytasks"} == 1)`, "3")
	p.gives("max(pytasks_cluster_voters_alive)", "3")
	p.gives("sum(pytasks_raft_leader)", "1")

	before, err := p.query("sum(pytasks_tasks)")
	if err != nil || len(before) != 1 {
		t.Fatalf("the tasks: %v, %v", before, err)
	}
	const more = 12
	for i := range more {
		ps[i%3].gives("test.main.add", `{"x":1,"y":2}`, "3")
	}
	p.gives(fmt.Sprintf("sum(pytasks_tasks) - %s", before[0].value()), fmt.Sprint(more))
	for _, name := range []string{"pytasks_tasks", "pytasks_tasks_oldest_waiting_seconds", "pytasks_tasks_unfinished_bytes"} {
		p.gives(fmt.Sprintf("count(count by (instance) (%s))", name), "1") // a sum over all nodes counts everything once
	}
	p.gives(`sum(rate(pytasks_tasks_enqueued_total[1m])) > bool 0`, "1")

	// Six slots run something, so that a seventh task waits.
	var running []string
	for range 7 {
		running = append(running, ps[0].submit(`{"type":"test.main.sleep","args":{"seconds":60}}`))
	}
	p.gives("max(pytasks_tasks_oldest_waiting_seconds) > bool 1", "1")
	p.gives("sum(pytasks_node_slots_busy)", "6")
	for _, id := range running {
		ps[1].must(http.StatusOK, http.MethodPost, "/task/"+id+"/cancel", "")
	}
	p.gives("max(pytasks_tasks_oldest_waiting_seconds)", "0")

	p.rules()
	p.dashboard()
	if got := p.firing(); len(got) > 0 {
		t.Errorf("nothing is wrong, and %v fire", got)
	}
	dead := ps[2]
	dead.kill()
	p.gives(fmt.Sprintf(`count(ALERTS{alertname="PytasksNodeDown", alertstate="firing", instance=%q})`, strings.TrimPrefix(dead.http, "http://")), "1")
	p.gives(`count(ALERTS{alertname="PytasksQuorumAtRisk", alertstate="firing"})`, "1")
	ps[0].gives("test.main.add", `{"x":1,"y":2}`, "3")
	p.gives(`count(ALERTS{alertname="PytasksNoLeader", alertstate="firing"}) or vector(0)`, "0")
}

// monitoringPage does what monitoring.md tells a reader to do, beside the files of deploy/. The user is another, as there is one.
func monitoringPage(t *testing.T, bin string, p *process) {
	dir := t.TempDir()
	var script string
	for _, name := range []string{"monitoring.md", "prometheus.yml", "alerts.yml", "alerts_test.yml"} {
		text, err := os.ReadFile(filepath.Join("..", "deploy", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Error(err)
			return
		}
		if name == "monitoring.md" {
			script, _ = scriptOf(string(text))
		}
	}
	script = strings.ReplaceAll(script, "user add "+scraper, "user add another") + "\ntest -s prometheus.password\n"
	for _, command := range []string{"pytasks user add", "promtool check config", "promtool test rules"} {
		if !strings.Contains(script, command) {
			t.Errorf("the page has no %s", command)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eux")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(script)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+filepath.Dir(p.program)+":"+os.Getenv("PATH"), "PYTASKS_ADDR="+p.http)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// rules waits until every alert has been evaluated, without an error.
func (p *watcher) rules() {
	p.t.Helper()
	want := strings.Count(changed(p.t, "alerts.yml"), "- alert: ")
	eventually(p.t, 10*time.Second, "the rules are evaluated", func() error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		if err := p.get("/api/v1/rules", &data); err != nil {
			return err
		}
		n := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if n++; r.Health != "ok" {
					return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
			}
		}
		if n != want {
			return fmt.Errorf("there are %d, want %d", n, want)
		}
		return nil
	})
}

// dashboard asks what the dashboard asks. Where nothing has gone wrong some of it shows nothing.
func (p *watcher) dashboard() {
	p.t.Helper()
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", "pytasks", "$instance", ".*")
	for _, panel := range dashboard(p.t) {
		some := false
		for _, target := range panel.Targets {
			got, err := p.query(variables.Replace(target.Expr))
			if err != nil {
				p.t.Errorf("panel %q: %v", panel.Title, err)
			}
			some = some || len(got) > 0
		}
		if !some && panel.Type != "row" && (panel.Title != "Workers" || hasPython()) {
			p.t.Errorf("panel %q shows nothing", panel.Title)
		}
	}
}
