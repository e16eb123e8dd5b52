package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// browserPack is Debian's package of Chromium without a window: 100 MB, which takes some ten seconds to install.
const browserPack = "chromium-headless-shell"

// needBrowser returns the program of a browser. Root installs one where it is missing; others skip the test.
func needBrowser(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	for _, name := range []string{browserPack, "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("no Chromium on the PATH, and only root may install one")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "apt-get", "install", "-y", "--no-install-recommends", browserPack).CombinedOutput(); err != nil {
		t.Skipf("no Chromium on the PATH, and apt-get install %s says: %v: %s", browserPack, err, out)
	}
	path, err := exec.LookPath(browserPack)
	if err != nil {
		t.Skipf("%s is installed, and not on the PATH: %v", browserPack, err)
	}
	return path
}

// tab is a page of a Chromium of its own, driven by the DevTools protocol over pipes.
type tab struct {
	t       *testing.T
	to      io.Writer
	session string

	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
	gone    error    // why no more replies come
	said    []string // errors and warnings of the console, violations of the policy
	asked   []string // URLs of requests
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// openTab starts a browser. It ends with the test.
func openTab(t *testing.T) *tab {
	t.Helper()
	program := needBrowser(t)
	in, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var noise bytes.Buffer
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe")
	cmd.ExtraFiles = []*os.File{in, out} // 3 and 4
	cmd.Stderr = &noise
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	b := &tab{t: t, to: toBrowser, waiting: map[int]chan reply{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(bufio.NewReader(fromBrowser))
	}()
	t.Cleanup(func() {
		toBrowser.Close() // which ends it
		end := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		<-read
		cmd.Wait()
		end.Stop()
		fromBrowser.Close()
		if t.Failed() {
			t.Logf("the browser said: %.2000s", noise.Bytes())
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read takes what the browser sends until it has gone.
func (b *tab) read(from *bufio.Reader) {
	for {
		text, err := from.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.gone = fmt.Errorf("the browser has gone: %w", err)
			for _, c := range b.waiting {
				close(c)
			}
			b.waiting = nil
			return
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			reply
		}
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			continue
		}
		b.mu.Lock()
		if m.ID != 0 && b.waiting[m.ID] != nil {
			b.waiting[m.ID] <- m.reply
			delete(b.waiting, m.ID)
		}
		b.note(m.Method, m.Params)
		b.mu.Unlock()
	}
}

// note keeps what the page says and asks for.
func (b *tab) note(method string, params json.RawMessage) {
	var p struct {
		Type    string
		Entry   struct{ Level, Text, URL string }
		Request struct{ URL string }
	}
	json.Unmarshal(params, &p)
	switch method {
	case "Network.requestWillBeSent":
		b.asked = append(b.asked, p.Request.URL)
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			b.said = append(b.said, p.Entry.Text+" "+p.Entry.URL)
		}
	case "Runtime.exceptionThrown":
		b.said = append(b.said, string(params))
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			b.said = append(b.said, string(params))
		}
	}
}

// call asks the browser for something and waits for its answer.
func (b *tab) call(method string, params, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	m := map[string]any{"id": b.last, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	c := make(chan reply, 1)
	if b.gone == nil {
		b.waiting[b.last] = c
	} else {
		close(c)
	}
	b.mu.Unlock()
	text, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case r, ok := <-c:
		if !ok || r.Error != nil {
			b.t.Fatalf("%s: %v %+v", method, b.gone, r.Error)
		}
		if result != nil {
			if err := json.Unmarshal(r.Result, result); err != nil {
				b.t.Fatalf("%s: %v: %s", method, err, r.Result)
			}
		}
	case <-time.After(time.Minute):
		b.t.Fatalf("%s: no answer in a minute", method)
	}
}

// open shows a page.
func (b *tab) open(url string) {
	b.t.Helper()
	var shown struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": url}, &shown)
	if shown.ErrorText != "" {
		b.t.Fatalf("open %s: %s", url, shown.ErrorText)
	}
}

// eval returns the value of JavaScript, a text; that of a promise when it is kept.
func (b *tab) eval(script string) string {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, r.ExceptionDetails)
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits until an expression of the page holds: it is looked at whenever the page changes.
func (b *tab) until(expression string) string {
	b.t.Helper()
	return b.eval(`new Promise((done, failed) => {
		const look = () => { let v; try { v = ` + expression + ` } catch (e) { v = false } if (v) { observer.disconnect(); done(String(v)) } };
		const observer = new MutationObserver(look);
		observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
		setTimeout(() => failed(new Error("never came: " + document.body.innerText.slice(0, 2000))), 30000);
		look();
	})`)
}

// fill writes into a field as somebody who types does.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.until(`document.querySelector("` + selector + `")`)
	b.eval(fmt.Sprintf(`{
		const field = document.querySelector(%q);
		Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, %q);
		field.dispatchEvent(new Event("input", { bubbles: true }));
		field.dispatchEvent(new Event("change", { bubbles: true }));
	}`, selector, text))
}

// click clicks on what a selector finds, when it is there.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)`, selector))
	b.eval(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// harmless checks that the page has complained of nothing, and has asked nobody but its own node.
func (b *tab) harmless(node string) {
	b.t.Helper()
	b.eval("1") // what it has said until now has come
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.said {
		b.t.Errorf("the page says %.1000s", text)
	}
	for _, url := range b.asked {
		if !strings.HasPrefix(url, node+"/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			b.t.Errorf("the page asks %s", url)
		}
	}
	if len(b.asked) < 5 {
		b.t.Errorf("the page has asked for %q only", b.asked)
	}
}
