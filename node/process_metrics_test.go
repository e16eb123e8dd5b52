package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scraper is the user that reads metrics in these tests.
const scraper = "prometheus"

// TestProcessMetrics: what three nodes show after some work passes a linter, is what monitoring.md lists, and holds all that the
// dashboard and the alerts ask for; and a real Prometheus gets along with it.
func TestProcessMetrics(t *testing.T) {
	ps := startCluster(t, 3, "--anonymous", "submit", "--slots", "2")
	password := strings.TrimSpace(ps[0].tools("user", "add", scraper, "--scopes", "metrics:read"))
	ps.exercise(t)
	shown := map[string]*dto.MetricFamily{} // by one node or another
	for _, p := range ps {
		text := p.metrics(password)
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		for _, problem := range problems {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		maps.Copy(shown, families(t, text))
	}
	t.Run("labels", func(t *testing.T) { boundedLabels(t, shown) })
	t.Run("page", func(t *testing.T) { listed(t, shown) })
	t.Run("dashboard and alerts", func(t *testing.T) {
		for _, file := range []string{"../deploy/grafana/dashboard.json", "../deploy/alerts.yml", "../deploy/alerts_test.yml"} {
			names := metricsIn(t, file)
			if len(names) < 15 {
				t.Errorf("%s names %d metrics: is it read right?", file, len(names))
			}
			for _, name := range names {
				if _, ok := shown[name]; !ok && !(name == workersMetric && !hasPython()) {
					t.Errorf("%s asks for %s, which no node shows", file, name)
				}
			}
		}
	})
	t.Run("password", func(t *testing.T) {
		for _, c := range []struct {
			path, password string
			want           int
		}{{"/metrics", password, 200}, {"/metrics", "a wrong one", 401}, {"/cluster", password, 401}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.SetBasicAuth(scraper, c.password)
			ps[1].must(c.want, http.MethodGet, c.path, "", "Authorization", r.Header.Get("Authorization"))
		}
		ps[1].must(http.StatusUnauthorized, http.MethodGet, "/metrics", "")
	})
	t.Run("prometheus", func(t *testing.T) { prometheusWatches(t, ps, password) })
}

// workersMetric is shown for packs in Python alone.
const workersMetric = "pytasks_node_workers"

func hasPython() bool {
	_, err := exec.LookPath("python3")
	return err == nil
}

// exercise has every node do a bit of what is counted.
func (ps processes) exercise(t *testing.T) {
	t.Helper()
	if hasPython() {
		ps[0].tools("pack", "install", filepath.Join("testdata", "packs", "classic"))
		ps[0].gives("classic.main.add", `{"x":1,"y":2}`, "3")
	}
	for _, p := range ps {
		p.gives("test.main.add", `{"x":1,"y":2}`, "3")
	}
	if task := ps[1].call("test.main.fail", `{"message":"no"}`, `"retry":{"max_attempts":2,"initial":0.01}`); task.Status != "FAILURE" {
		t.Errorf("it ended as %s", task.Raw)
	}
	ps[2].must(http.StatusNotFound, http.MethodGet, "/nowhere/at/all", "")
}

// metrics returns what a node shows a user.
func (p *process) metrics(password string) (text string) {
	p.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(scraper, password)
	eventually(p.t, 10*time.Second, p.name+" shows its metrics", func() error { // it may not have heard of the user yet
		a, err := send(p, http.MethodGet, "/metrics", "", "Authorization", r.Header.Get("Authorization"))
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("got %v", a)
		}
		text = string(a.body)
		return err
	})
	return text
}

func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// boundedLabels looks for labels that name what there is no end of: tasks, members, addresses, paths.
func boundedLabels(t *testing.T, shown map[string]*dto.MetricFamily) {
	endless := regexp.MustCompile(`[0-9a-f]{8}-?[0-9a-f]{4}|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|nowhere`)
	for name, f := range shown {
		if len(f.Metric) > 150 {
			t.Errorf("%s has %d series", name, len(f.Metric))
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if endless.MatchString(l.GetValue()) {
					t.Errorf("%s has the label %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// listed compares what nodes show with the tables of the page.
func listed(t *testing.T, shown map[string]*dto.MetricFamily) {
	text, err := os.ReadFile("../deploy/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]string{} // kind and labels, by name
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\| (.*?) \\|").FindAllStringSubmatch(string(text), -1) {
		page[row[1]] = row[2] + " " + strings.Join(regexp.MustCompile("[a-z_]+").FindAllString(row[3], -1), " ")
	}
	for name, f := range shown {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		labels := map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = true
			}
		}
		want := strings.ToLower(f.GetType().String()) + " " + strings.Join(slices.Sorted(maps.Keys(labels)), " ")
		if page[name] != want {
			t.Errorf("monitoring.md has %s as %q, nodes show %q: %s", name, page[name], want, f.GetHelp())
		}
	}
	for name := range page {
		if _, ok := shown[name]; !ok && !(name == workersMetric && !hasPython()) {
			t.Errorf("monitoring.md has %s, which no node shows", name)
		}
	}
}

// metricsIn returns the metrics that a file names, histograms without the ends of their series.
func metricsIn(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\b(pytasks|raft|memberlist|process|go)_[a-z_]+`).FindAllString(string(text), -1)
	for i, name := range names {
		names[i] = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// panel is what the tests read of a panel of the dashboard.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct{ Expr string }
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct{ Panels []panel }
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	return board.Panels
}

// TestDashboard: every panel says what it shows and in what unit, and none lies on another.
func TestDashboard(t *testing.T) {
	panels := dashboard(t)
	if len(panels) < 30 {
		t.Errorf("%d panels: is it read right?", len(panels))
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d, %q: it has no title, or the id of another", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0) {
			t.Errorf("panel %q has the description %q, the unit %q and %d queries", p.Title, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets))
		}
		at := p.GridPos
		if at.W < 1 || at.X+at.W > 24 {
			t.Errorf("panel %q is from column %d to %d, of 24", p.Title, at.X, at.X+at.W)
		}
		for x := range at.W {
			for y := range at.H {
				cell := [2]int{at.X + x, at.Y + y}
				if taken[cell] != "" {
					t.Fatalf("panels %q and %q lie on each other", taken[cell], p.Title)
				}
				taken[cell] = cmp.Or(p.Title, "panel")
			}
		}
	}
}

// TestAlerts: the page lists the alerts with their severity, and each is in the tests that promtool runs.
func TestAlerts(t *testing.T) {
	texts := map[string]string{}
	for _, name := range []string{"alerts.yml", "alerts_test.yml", "monitoring.md"} {
		texts[name] = changed(t, name)
	}
	found := func(name, pattern string) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(texts[name], -1) {
			all = append(all, m[1]+" "+m[2])
		}
		slices.Sort(all)
		return all
	}
	alerts := found("alerts.yml", `(?s)- alert: (\w+)\n.*?severity: (\w+)`)
	if page := found("monitoring.md", `(?m)^\| (Pytasks\w+) \| (\w+) \|`); len(alerts) < 10 || !slices.Equal(alerts, page) {
		t.Errorf("alerts.yml has\n%s\nand monitoring.md\n%s", strings.Join(alerts, "\n"), strings.Join(page, "\n"))
	}
	for _, alert := range alerts {
		name, _, _ := strings.Cut(alert, " ")
		if !regexp.MustCompile(`alertname(=|: )"?` + name + `\b`).MatchString(texts["alerts_test.yml"]) {
			t.Errorf("%s is in no test", name)
		}
	}
}
