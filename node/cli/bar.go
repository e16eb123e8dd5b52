package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	barAfter = time.Second            // how long something takes before it gets a bar
	barTick  = 200 * time.Millisecond // how often it is drawn
	barWidth = 24                     // of the bar itself, in columns
)

// unknown is how far something is that does not say it.
const unknown = -1.0

// bar is a line on a terminal that says how far something is that takes longer than a second:
//
//	[##########--------------]  42% sending hello, 3s
//
// Its methods do nothing on nil, which is the bar of a command whose user looks at no terminal. They may be called together.
type bar struct {
	screen *os.File
	after  time.Duration
	begun  time.Time
	done   chan struct{}
	ended  sync.WaitGroup

	mu       sync.Mutex
	fraction float64 // guarded by mu; 0 to 1, or unknown
	what     string  // guarded by mu
	drawn    bool    // guarded by mu; the cursor stands behind the bar
	midline  bool    // guarded by mu; what was printed beside it does not end its line yet
}

// bar begins a bar on standard error: nil if that is no terminal, or if programs read along. It must be ended.
func (c *cli) bar(what string) *bar {
	screen := terminalOf(c.err)
	if screen == nil || c.json || !c.moves() {
		return nil
	}
	return startBar(screen, what, min(barAfter, c.pace()))
}

func startBar(screen *os.File, what string, after time.Duration) *bar {
	b := &bar{screen: screen, after: after, begun: time.Now(), done: make(chan struct{}), fraction: unknown, what: what}
	b.ended.Go(b.run)
	return b
}

func (b *bar) run() {
	tick := time.NewTicker(barTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.draw()
		case <-b.done:
			return
		}
	}
}

// tell says how far it is, from 0 to 1 or unknown, and what is going on.
func (b *bar) tell(fraction float64, what string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fraction, b.what = fraction, what
}

// sending is told how many bytes of so many are sent. When all are, it is the other side's turn. nil where there is no bar.
func (b *bar) sending(what string, size int) func(int) {
	if b == nil {
		return nil
	}
	return func(sent int) {
		if sent == size {
			b.tell(unknown, "the node installs "+what)
			return
		}
		b.tell(float64(sent)/float64(size), fmt.Sprintf("sending %s, %.1f of %.1f MiB", what, float64(sent)/(1<<20), float64(size)/(1<<20)))
	}
}

// end takes the bar off the screen. It may be called twice.
func (b *bar) end() {
	if b == nil {
		return
	}
	b.mu.Lock()
	select {
	case <-b.done:
	default:
		close(b.done)
	}
	b.mu.Unlock()
	b.ended.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
}

// beside returns a writer for what is printed while the bar is there.
func (b *bar) beside(w io.Writer) io.Writer {
	if b == nil {
		return w
	}
	return &besideBar{b, w}
}

type besideBar struct {
	bar *bar
	w   io.Writer
}

func (p *besideBar) Write(text []byte) (int, error) {
	p.bar.mu.Lock()
	defer p.bar.mu.Unlock()
	p.bar.clear()
	if len(text) > 0 {
		p.bar.midline = text[len(text)-1] != '\n'
	}
	return p.w.Write(text)
}

// draw draws the bar, if it is time. Nobody can do anything about a terminal that takes no more text.
func (b *bar) draw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	took := time.Since(b.begun)
	if took < b.after || b.midline {
		return
	}
	width, _ := sizeOf(b.screen)
	_, _ = fmt.Fprintf(b.screen, "\r%s\x1b[K", clip(barLine(b.fraction, b.what, took), width-1))
	b.drawn = true
}

// clear takes it off the line; mu is held.
func (b *bar) clear() {
	if b.drawn {
		_, _ = fmt.Fprint(b.screen, "\r\x1b[K")
		b.drawn = false
	}
}

// barLine is a bar as text.
func barLine(fraction float64, what string, took time.Duration) string {
	what = printable(what)
	elapsed := took.Truncate(time.Second)
	if fraction < 0 {
		return fmt.Sprintf("%s, %s", what, elapsed)
	}
	fraction = min(fraction, 1)
	full := int(fraction * barWidth)
	return fmt.Sprintf("[%s%s] %3.0f%% %s, %s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), 100*fraction, what, elapsed)
}
