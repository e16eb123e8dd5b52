package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pytasks/httpapi"
	"pytasks/node/client/clienttest"
)

// onTerminal is a command line whose output goes to a terminal.
func onTerminal(p *pty, env map[string]string) *cli {
	return &cli{in: p.tty, out: p.tty, err: p.tty, every: time.Millisecond, getenv: func(name string) string { return env[name] }}
}

var xterm = map[string]string{"TERM": "xterm"}

// TestColours: on a terminal that has them, unless they are not wanted; without changing columns.
func TestColours(t *testing.T) {
	for name, c := range map[string]struct {
		env     map[string]string
		colours bool
	}{
		"xterm":    {xterm, true},
		"no color": {map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		"dumb":     {map[string]string{"TERM": "dumb"}, false},
		"none":     {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			api, url := clienttest.New(t)
			api.FailedTasks(1)
			p := openPTY(t, 120, 40)
			if code := onTerminal(p, c.env).execute(t.Context(), []string{"task", "ls", "--addr", url}); code != 0 {
				t.Fatalf("exit code %d: %s", code, p.shown())
			}
			p.shows(t, "FAILURE")
			if got := strings.Contains(p.shown(), "\x1b[31mFAILURE\x1b[0m"); got != c.colours {
				t.Errorf("in colours: %t, want %t: %q", got, c.colours, p.shown())
			}
			_, plainText, _ := runCLI(t, nil, "task", "ls", "--addr", url)
			p.shows(t, "-\r\n") // the end of the line
			if got := strings.ReplaceAll(uncoloured(p.shown()), "\r", ""); got != plainText {
				t.Errorf("got\n%s\nwant, but for colours,\n%s", got, plainText)
			}
		})
	}
}

// uncoloured is a text without escape sequences.
func uncoloured(text string) string {
	var b strings.Builder
	for part := range strings.SplitSeq("m"+text, "\x1b[") {
		_, after, _ := strings.Cut(part, "m")
		b.WriteString(after)
	}
	return b.String()
}

// TestWatchOnTerminal: it is drawn again over what is there, goes on while no node answers, and Ctrl-C ends it well.
func TestWatchOnTerminal(t *testing.T) {
	api, url := clienttest.New(t)
	failing := false
	api.Spoil = func(http.ResponseWriter, *http.Request) bool {
		if failing {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	api.FailedTasks(1)
	p := openPTY(t, 60, 5)
	ctx, stop := context.WithCancelCause(t.Context())
	code := make(chan int)
	go func() { code <- onTerminal(p, xterm).execute(ctx, []string{"task", "ls", "--watch", "--addr", url}) }()
	p.shows(t, "\x1b[H\x1b[2J") // cleared once
	p.shows(t, "000000000000")
	p.shows(t, "\x1b[J\x1b[H\x1b[") // and drawn again
	api.Mu.Lock()
	api.FailedTasks(3)
	api.Mu.Unlock()
	p.shows(t, "... and 3 more lines") // four lines fit above the cursor
	api.Mu.Lock()
	failing = true
	api.Mu.Unlock()
	p.shows(t, "! cannot reach")
	if n := strings.Count(p.shown(), "\x1b[2J"); n != 1 {
		t.Errorf("the screen was cleared %d times", n)
	}
	moves := strings.NewReplacer("\x1b[H", "", "\x1b[2J", "", "\x1b[K", "", "\x1b[J", "", "\r", "")
	for line := range strings.SplitSeq(moves.Replace(p.shown()), "\n") {
		if n := len([]rune(uncoloured(line))); n > 60 {
			t.Errorf("a line of %d columns on a screen of 60: %q", n, line)
		}
	}
	stop(errors.New("stopped by a signal"))
	if got := <-code; got != 0 {
		t.Errorf("got exit code %d, want 0", got)
	}
	p.shows(t, "\x1b[J\r\n")
}

// TestBar: it is drawn in place, what is printed beside it stands above it, and at the end it is gone.
func TestBar(t *testing.T) {
	p := openPTY(t, 50, 10)
	b := startBar(p.tty, "sending", 0)
	p.shows(t, "\rsending, 0s\x1b[K")
	b.tell(0.5, "sending\x1b[2J much more than there is room for here")
	p.shows(t, "\r[############------------]  50% sending\uFFFD[2J much \x1b[0m\x1b[K")
	beside := b.beside(p.tty)
	fmt.Fprint(beside, "half a ")
	p.shows(t, "\r\x1b[Khalf a ")
	before := p.shown()
	b.draw() // not into a line that goes on
	fmt.Fprint(beside, "line\n")
	p.shows(t, "half a line\r\n")
	if got := p.shown(); !strings.HasPrefix(got, before+"line\r\n") {
		t.Errorf("got %q after %q", got[len(before):], before)
	}
	b.draw()
	b.end()
	b.end()
	p.shows(t, "line\r\n\r[####")
	soon(t, 5*time.Second, "the bar is gone", func() error {
		if got := p.shown(); !strings.HasSuffix(got, "\r\x1b[K") {
			return fmt.Errorf("it ends in %q", got[max(0, len(got)-40):])
		}
		return nil
	})

	c := onTerminal(p, xterm)
	for name, change := range map[string]func(){
		"json": func() { c.json = true }, "a dumb terminal": func() { c.getenv = func(string) string { return "dumb" } }, "no terminal": func() { c.err = io.Discard },
	} {
		c = onTerminal(p, xterm)
		if b := c.bar("x"); b == nil {
			t.Fatal("no bar on a terminal")
		} else {
			b.end()
		}
		change()
		if c.bar("x") != nil {
			t.Errorf("%s: there is a bar", name)
		}
	}
	var none *bar
	none.tell(1, "")
	none.end()
	if none.beside(io.Discard) != io.Discard {
		t.Error("a bar that is none changes a writer")
	}
}

// TestRunShowsProgress: what runs longer than a second shows how far it is, and prints only its result.
func TestRunShowsProgress(t *testing.T) {
	api, url := clienttest.New(t)
	looks, end := 0, make(chan struct{})
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/task/") {
			return false
		}
		if looks++; looks == 1 {
			fmt.Fprint(w, `{"id": "i", "status": "STARTED", "node": "n1", "attempt": 1, "progress": {"fraction": 0.25, "text": "reading"}}`)
			return true
		}
		<-end // as a node that is asked to wait does
		return false
	}
	p := openPTY(t, 80, 24)
	c := onTerminal(p, xterm)
	var out strings.Builder
	c.out = &out
	code := make(chan int)
	go func() {
		code <- c.execute(t.Context(), []string{"run", "test.main.add", "x=1", "y=2", "--wait", "--addr", url})
	}()
	p.shows(t, "[######------------------]  25% reading, 0s")
	close(end)
	if got := <-code; got != 0 || out.String() != "3\n" {
		t.Errorf("got exit code %d, printed %q, the terminal shows %s", got, out.String(), p.shown())
	}
}

// TestInstallShows: how much of a pack is sent, and whom it waits for.
func TestInstallShows(t *testing.T) {
	api, url := clienttest.New(t)
	archive := filepath.Join(t.TempDir(), "big.zip")
	if err := os.WriteFile(archive, append([]byte("PK"), make([]byte, 8<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	received, ready, sized := make(chan struct{}), make(chan struct{}), int64(0)
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == "/packs":
			<-received // more than fits between them waits to be sent
			sized, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, `{"name": "big", "version": "1", "release": "1+a"}`)
		case r.URL.Path == "/packs/big":
			status := httpapi.PackPreparing
			select {
			case <-ready:
				status = httpapi.PackReady
			default:
			}
			fmt.Fprintf(w, `{"name": "big", "release": "1+a", "nodes": [{"name": "n1", "status": %q}, {"name": "n2", "status": %q}]}`, httpapi.PackReady, status)
		default:
			return false
		}
		return true
	}
	p := openPTY(t, 150, 24)
	code := make(chan int)
	go func() {
		code <- onTerminal(p, xterm).execute(t.Context(), []string{"pack", "install", archive, "--addr", url})
	}()
	p.shows(t, "sending "+archive)
	p.shows(t, "of 8.0 MiB, ")
	close(received)
	p.shows(t, "[############------------]  50% waiting for n2, ")
	close(ready)
	if got := <-code; got != 0 || sized != 8<<20+2 {
		t.Errorf("got exit code %d, sent %d bytes", got, sized)
	}
	p.shows(t, "  node n2 ready\r\n")
	if text := p.shown(); !strings.HasSuffix(text, "\r\x1b[K") && !strings.HasSuffix(text, "node n2 ready\r\n") {
		t.Errorf("the bar is left behind: %q", text)
	}
}

// TestRotateShows: whom a change of the secret waits for.
func TestRotateShows(t *testing.T) {
	api, url := clienttest.New(t)
	step := make(chan string)
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/cluster/secret" {
			return false
		}
		if r.Method == http.MethodPost {
			fmt.Fprint(w, "{}")
		} else {
			fmt.Fprint(w, <-step)
		}
		return true
	}
	p := openPTY(t, 100, 24)
	c := onTerminal(p, xterm)
	var secret strings.Builder
	c.out = &secret
	code := make(chan int)
	go func() { code <- c.execute(t.Context(), []string{"secret", "rotate", "--addr", url}) }()
	step <- `{"phase": 2, "waits_for": ["n2", "n3"]}`
	p.shows(t, "[############------------]  50% waiting for n2, n3, ")
	step <- `{"phase": 0}`
	if got := <-code; got != 0 || !strings.HasPrefix(secret.String(), "pts1_") {
		t.Errorf("got exit code %d, printed %q", got, secret.String())
	}
	p.shows(t, "\r\x1b[Kall nodes use the secret")
}

// TestTopLive: it draws on a screen of its own, fits what it is resized to, and q gives the terminal back as it was.
func TestTopLive(t *testing.T) {
	_, url := topAPI(t)
	p := openPTY(t, 100, 24)
	before, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	code := make(chan int)
	go func() { code <- onTerminal(p, xterm).execute(t.Context(), []string{"top", "--addr", url}) }()
	p.shows(t, "\x1b[?1049h\x1b[?25l\x1b[H")
	p.shows(t, "\x1b[33malive, draining\x1b[0m")
	p.shows(t, "of them failed")
	p.shows(t, "1m30s")
	p.resize(t, 100, 8)
	p.shows(t, "... and ")
	p.press(t, "x")
	p.press(t, "q")
	if got := <-code; got != 0 {
		t.Errorf("got exit code %d", got)
	}
	p.shows(t, "\x1b[J\x1b[?25h\x1b[?1049l")
	after, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %+v, want %+v, %v", after, before, err)
	}
}

// TestTopStops: Ctrl-C, which is a key there, and a signal end it as well.
func TestTopStops(t *testing.T) {
	_, url := topAPI(t)
	for name, stop := range map[string]func(p *pty, cancel func()){
		"ctrl-c": func(p *pty, _ func()) { p.press(t, "\x03") },
		"signal": func(_ *pty, cancel func()) { cancel() },
	} {
		p := openPTY(t, 100, 24)
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int)
		go func() { code <- onTerminal(p, xterm).execute(ctx, []string{"top", "--addr", url}) }()
		p.shows(t, "\x1b[?25l\x1b[H")
		stop(p, cancel)
		if got := <-code; got != 0 {
			t.Errorf("%s: got exit code %d", name, got)
		}
		p.shows(t, "\x1b[?1049l")
		cancel()
	}
}
