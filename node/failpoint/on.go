//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lookEvery is how long what a file of settings said is believed.
const lookEvery = 20 * time.Millisecond

// ErrArmed is what an armed point returns.
var ErrArmed = errors.New("failpoint")

// the is the one exception to the rule of no globals: points are called from
// everywhere, and only in programs that are made to be broken.
var the = &points{setting: os.Getenv("PYTASKS_FAILPOINTS")}

// points are the armed points and how often each was hit.
type points struct {
	setting string

	mu     sync.Mutex
	text   string            // guarded by mu; what the maps are made of
	looked time.Time         // guarded by mu; when text was read
	armed  map[string]action // guarded by mu
	hits   map[string]int    // guarded by mu
}

// action is what an armed point does.
type action struct {
	verb  string
	pause time.Duration // of sleep
	only  int           // the hit that does it, 0 = each
}

// Point does what the point is armed to do.
func Point(name string) { _ = the.hit(name) }

// Err does what the point is armed to do, which may be to fail.
func Err(name string) error { return the.hit(name) }

func (p *points) hit(name string) error {
	a, n := p.count(name)
	if a.verb == "" || a.only != 0 && a.only != n {
		return nil
	}
	fmt.Fprintf(os.Stderr, "failpoint: %s hit %d: %s\n", name, n, a.verb)
	switch a.verb {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens here, however long the signal takes
	case "panic":
		panic("failpoint " + name)
	case "sleep":
		time.Sleep(a.pause)
	case "error":
		return fmt.Errorf("%w %s", ErrArmed, name)
	}
	return nil
}

// count returns what a point is armed to do and the number of this hit.
func (p *points) count(name string) (action, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look()
	a, ok := p.armed[name]
	if ok {
		p.hits[name]++
	}
	return a, p.hits[name]
}

// look reads the settings, if they may have changed. mu is held.
func (p *points) look() {
	text := p.setting
	if path, ok := strings.CutPrefix(text, "@"); ok {
		if time.Since(p.looked) < lookEvery {
			return
		}
		p.looked = time.Now()
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			panic("failpoints: " + err.Error())
		}
		text = string(content)
	}
	if p.armed != nil && text == p.text {
		return
	}
	armed, err := parse(text)
	if err != nil {
		panic("failpoints: " + err.Error())
	}
	p.text, p.armed, p.hits = text, armed, map[string]int{}
}

// parse reads settings: name=verb[:pause][@hit], separated by semicolons or lines.
func parse(text string) (map[string]action, error) {
	known := map[string]bool{}
	for _, s := range Spots() {
		known[s.Name] = true
	}
	armed := map[string]action{}
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		name, rest, ok := strings.Cut(strings.TrimSpace(field), "=")
		if !ok || !known[name] {
			return nil, fmt.Errorf("%q: write name=action with a name of failpoint.Spots", field)
		}
		rest, only, numbered := strings.Cut(rest, "@")
		verb, pause, _ := strings.Cut(rest, ":")
		a := action{verb: verb}
		var err error
		if numbered {
			a.only, err = strconv.Atoi(only)
		}
		switch verb {
		case "kill", "panic", "error", "note":
		case "sleep":
			var pauseErr error
			a.pause, pauseErr = time.ParseDuration(pause)
			err = errors.Join(err, pauseErr)
		default:
			err = errors.Join(err, errors.New("an action is kill, panic, sleep:2s, error or note"))
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", field, err)
		}
		armed[name] = a
	}
	return armed, nil
}
