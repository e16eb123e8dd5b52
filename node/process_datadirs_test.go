package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeDataDirs is given at each release; see CONTRIBUTING.md.
var writeDataDirs = flag.String("datadirs.write", "", "version under which the data directories of a cluster of this program are kept in testdata/datadirs")

// keepAll has nodes keep what was written in any year.
var keepAll = []string{"--keep-finished", "876000h", "--keep-audit", "876000h"}

// dataDirs is what the data directories of a cluster hold, as it was told when they were written.
type dataDirs struct {
	Secret    string            `json:"secret"`
	Passwords map[string]string `json:"passwords"` // of its users
	Tasks     []json.RawMessage `json:"tasks"`     // finished ones, and scheduled ones
	Large     string            `json:"large"`     // a task whose arguments and result are beside the log
	Unended   []string          `json:"unended"`   // tasks that ran or waited
	Users     json.RawMessage   `json:"users"`
	Audit     []json.RawMessage `json:"audit"` // without what was not noted yet
	Packs     json.RawMessage   `json:"packs"`
	Labels    map[string]string `json:"labels"`  // of n1
	Drained   string            `json:"drained"` // a node that is drained until it is resumed
}

// largeArgs are those of the task that is kept beside the log; they pack well.
func largeArgs() string { return `{"value":"` + strings.Repeat("0123456789", 7000) + `"}` }

// TestProcessDataDirs: three nodes of this program start on the data directories that each release has left, under other
// addresses: all is there and as it was, what was not finished ends, packs run, users log in, and new tasks go on.
func TestProcessDataDirs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if *writeDataDirs != "" {
		needPython(t)
		leaveDataDirs(t, filepath.Join("testdata", "datadirs", *writeDataDirs+".tar.gz"))
	}
	archives, err := filepath.Glob(filepath.Join("testdata", "datadirs", "*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no data directories are kept: %v", err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".tar.gz"), func(t *testing.T) { upgradeStory(t, archive) })
	}
}

func upgradeStory(t *testing.T, archive string) {
	var ps processes
	for i := range 3 {
		ps = append(ps, newProcess(t, fmt.Sprintf("n%d", i+1), keepAll...))
	}
	held := ps.unpack(t, archive)
	for _, p := range ps {
		p.env = append(p.env, "PYTASKS_SECRET="+held.Secret)
		p.flags = append(ps.joinFlags(), p.flags...)
		p.start()
	}
	ps.ready()
	ps.waitVoters(3)

	for _, id := range held.Unended {
		ps[0].succeeded(id, 30*time.Second)
	}
	admin := bearer(ps[0].login("admin", held.Passwords["admin"]))
	for _, p := range ps {
		for _, task := range held.Tasks {
			p.shows("/task/"+member(task, "id")+"?consistency=linearizable", task)
		}
		ps.echoed(held.Large, largeArgs())
		p.shows("/users", held.Users, admin...)
		lines := bytes.Split(bytes.TrimSpace(p.must(http.StatusOK, http.MethodGet, "/audit", "", admin...).body), []byte("\n"))
		if len(lines) < len(held.Audit) {
			t.Fatalf("%s has %d records of who did what, want at least the %d of before", p.name, len(lines), len(held.Audit))
		}
		for i, want := range held.Audit {
			if why := lacks(lines[i], want); why != "" {
				t.Errorf("%s: audit record %s, want %s: %s", p.name, lines[i], want, why)
			}
		}
	}
	if got := ps[1].mustBe("n1").Labels; !maps.Equal(got, held.Labels) {
		t.Errorf("n1 has the labels %v, want %v", got, held.Labels)
	}
	if !ps[1].mustBe(held.Drained).Drained {
		t.Errorf("%s is not drained", held.Drained)
	}
	ps[1].tools("node", "resume", held.Drained)
	for user, password := range held.Passwords {
		ps[1].login(user, password)
	}
	ps.checkNew(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("its pack is left out: no python3 on the PATH")
	}
	ps.packReady("classic", 3)
	ps[0].shows("/packs", held.Packs)
	for _, p := range ps {
		ps.givesAt(p, "classic.main.add", `{"x":1,"y":2}`, "3")
	}
}

// checkNew runs new tasks.
func (ps processes) checkNew(t *testing.T) {
	t.Helper()
	for _, s := range ps.sums(50, 5, nil) {
		for _, p := range ps {
			p.succeeded(s.id, 20*time.Second)
		}
	}
}

// shows checks that a node answers with all that was once answered, whatever has come to it since.
func (p *process) shows(path string, want []byte, headers ...string) {
	p.t.Helper()
	eventually(p.t, 20*time.Second, p.name+" has "+path, func() error {
		a, err := send(p, http.MethodGet, path, "", headers...)
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%v %v", a, err)
		}
		if why := lacks(a.body, want); why != "" {
			return errors.New(why)
		}
		return nil
	})
}

// lacks says what of a JSON text is missing in a later one, or is another there, "" if nothing is. A later one may have more
// members.
func lacks(got, want []byte) string {
	var values [2]any
	for i, text := range [][]byte{got, want} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&values[i]); err != nil {
			return fmt.Sprintf("%.200q is not JSON: %v", text, err)
		}
	}
	return lacksValue("", values[0], values[1])
}

func lacksValue(at string, got, want any) string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, got)
		}
		for key, w := range want {
			if why := lacksValue(at+"."+key, g[key], w); why != "" {
				return why
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
		for i, w := range want {
			if why := lacksValue(fmt.Sprintf("%s[%d]", at, i), g[i], w); why != "" {
				return why
			}
		}
	default:
		if !reflect.DeepEqual(got, want) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
	}
	return ""
}

// leaveDataDirs has a cluster do a bit of everything, kills it in the middle of its work and keeps what it has left.
func leaveDataDirs(t *testing.T, archive string) {
	ps := startCluster(t, 3, append([]string{"--slots", "1"}, keepAll...)...)
	ps.workersReady()
	held := &dataDirs{Secret: testSecret().Text(), Passwords: map[string]string{"admin": ps.adminPassword()}}
	admin := bearer(ps[0].login("admin", held.Passwords["admin"]))
	held.Passwords["ann"] = "correct horse battery staple"
	ps[0].must(http.StatusOK, http.MethodPost, "/users",
		`{"name":"ann","password":"`+held.Passwords["ann"]+`","scopes":["tasks:read"],"allowed_tasks":["classic.main.secret"]}`, admin...)
	ps[0].tools("pack", "install", filepath.Join("testdata", "packs", "classic"))
	ann := bearer(ps[0].login("ann", held.Passwords["ann"]))

	ps[1].tools("node", "label", "n1", "zone=eu", "gpu=yes")

	ended := []string{
		ps[2].submit(sleepFor(0, `"where":{"zone":"eu"}`)),
		ps[0].submit((&sum{number: 5}).body()),
		ps[1].submit(sleepFor(0, `"id":"nightly","priority":9,"tags":["a","b"]`)),
		ps[2].submit(`{"type":"test.main.fail","args":{"message":"no luck"},"retry":{"max_attempts":2,"initial":"10ms"}}`),
		ps[0].submit(`{"type":"classic.main.add","args":{"x":1,"y":2}}`),
		member(ps[1].must(http.StatusOK, http.MethodPost, "/task", (&sum{number: 6}).body(), ann...).body, "id"),
	}
	held.Large = ps[1].echo(largeArgs())
	ps.echoed(held.Large, largeArgs())
	for _, id := range ended {
		ps[0].finished(id, 20*time.Second)
	}
	revoked := ps[0].submit(sleepFor(0, `"delay":3600`))
	ps[0].must(http.StatusOK, http.MethodPost, "/task/"+revoked+"/cancel", "")
	scheduled := ps[0].submit(sleepFor(0, `"eta":"2999-12-31T00:00:00Z"`))
	for _, id := range append(ended, revoked, scheduled) {
		held.Tasks = append(held.Tasks, ps[0].must(http.StatusOK, http.MethodGet, "/task/"+id+"?consistency=linearizable", "", admin...).body)
	}
	held.Users = ps[0].must(http.StatusOK, http.MethodGet, "/users", "", admin...).body
	held.Labels, held.Drained = map[string]string{"zone": "eu", "gpu": "yes"}, "n3"
	ps[1].tools("node", "drain", held.Drained)
	eventually(t, 5*time.Second, "n1 has its labels", func() error {
		if got := ps[0].mustBe("n1").Labels; !maps.Equal(got, held.Labels) {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
	held.Packs = packsOf(t, ps[0].must(http.StatusOK, http.MethodGet, "/packs", "").body)
	for line := range bytes.Lines(ps[0].must(http.StatusOK, http.MethodGet, "/audit", "", admin...).body) {
		held.Audit = append(held.Audit, bytes.TrimSpace(line))
	}
	for _, p := range ps { // what they share is on all disks
		for _, task := range held.Tasks {
			p.shows("/task/"+member(task, "id")+"?consistency=stale", task)
		}
	}
	held.Unended = ps.submitAll(repeat(sleepFor(500*time.Millisecond), 12), 12)
	for _, p := range ps {
		_ = p.cmd.Process.Kill()
	}
	for _, p := range ps {
		<-p.ended
	}
	ps.pack(t, archive, held)
}

// packsOf returns what GET /packs says of the packs that stays so: not of the nodes, which are opening them again.
func packsOf(t *testing.T, body []byte) json.RawMessage {
	t.Helper()
	var view struct {
		Packs []map[string]json.RawMessage `json:"packs"`
	}
	if err := json.Unmarshal(body, &view); err != nil || len(view.Packs) == 0 {
		t.Fatalf("GET /packs: %s, %v", body, err)
	}
	for _, p := range view.Packs {
		delete(p, "nodes")
		delete(p, "status")
	}
	text, err := json.Marshal(view)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// madeAgain are the parts of a data directory that a node makes again, and which depend on its machine.
var madeAgain = []string{"envs", "lock", "wasm", "work"}

// pack writes the nodes' data directories, and what they hold, to an archive.
func (ps processes) pack(t *testing.T, archive string, held *dataDirs) {
	t.Helper()
	var b bytes.Buffer
	packed := gzip.NewWriter(&b)
	w := tar.NewWriter(packed)
	text, err := json.MarshalIndent(held, "", " ")
	errs := []error{err, w.WriteHeader(&tar.Header{Name: "held.json", Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg})}
	_, err = w.Write(text)
	errs = append(errs, err)
	for _, p := range ps {
		root := filepath.Join(p.dir, "data")
		errs = append(errs, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil || slices.Contains(madeAgain, strings.Split(name, string(filepath.Separator))[0]) {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			h := &tar.Header{Name: filepath.ToSlash(filepath.Join(p.name, name)), Mode: int64(info.Mode().Perm()), Typeflag: tar.TypeDir}
			if entry.IsDir() {
				return w.WriteHeader(h)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
			if err := w.WriteHeader(h); err != nil {
				return err
			}
			_, err = w.Write(content)
			return err
		}))
	}
	errs = append(errs, w.Close(), packed.Close(), os.MkdirAll(filepath.Dir(archive), 0o755), os.WriteFile(archive, b.Bytes(), 0o644))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 300<<10 {
		t.Errorf("%s has %d bytes, want at most 300 KiB", archive, b.Len())
	}
}

// unpack gives the nodes the data directories of an archive and returns what these hold.
func (ps processes) unpack(t *testing.T, archive string) *dataDirs {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	held := new(dataDirs)
	for r := tar.NewReader(packed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, err2 := io.ReadAll(r)
		if err := errors.Join(err, err2); err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
		node, rest, _ := strings.Cut(h.Name, "/")
		i := slices.IndexFunc(ps, func(p *process) bool { return p.name == node })
		switch {
		case h.Name == "held.json":
			err = json.Unmarshal(content, held)
		case i < 0 || !filepath.IsLocal(h.Name):
			err = fmt.Errorf("%s is of none of the nodes", h.Name)
		case h.Typeflag == tar.TypeDir:
			err = os.MkdirAll(filepath.Join(ps[i].dir, "data", rest), fs.FileMode(h.Mode))
		default:
			err = os.WriteFile(filepath.Join(ps[i].dir, "data", rest), content, fs.FileMode(h.Mode))
		}
		if err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
	}
	return held
}
