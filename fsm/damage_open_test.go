package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// TestDamageWhileOpen flips bytes of a file that is open and checks that everything that
// is read is right or stops the node. A record may be missed where a page that leads to
// it is damaged; then the next snapshot stops the node.
func TestDamageWhileOpen(t *testing.T) {
	w := newWhole(t)
	random := rand.New(rand.NewPCG(3, 4))
	stopped, missed := 0, 0
	for range 300 {
		p := open(t, w.file)
		i, flip := random.IntN(len(w.file)), byte(1<<random.IntN(8))
		p.damage(func(file []byte) []byte { file[i] ^= flip; return file })
		missing := w.read(t, p)
		snap, err := trySnapshot(p.State)
		switch {
		case p.stopped():
			stopped++
			p.standsStill(w.applied)
		case err != nil:
			t.Fatalf("byte %d ^ %x: Snapshot: %v, and nothing stops the node", i, flip, err)
		case missing || !bytes.Equal(snap, w.snapshot):
			t.Fatalf("byte %d ^ %x: missing %v, another snapshot %v, and nothing stops the node", i, flip, missing, !bytes.Equal(snap, w.snapshot))
		}
		if missing && p.stopped() {
			missed++
		}
		p.close()
	}
	t.Logf("%d flipped bytes of 300 stopped the node, %d after a record was missed", stopped, missed)
	if stopped < 50 {
		t.Errorf("%d flipped bytes of 300 stopped the node", stopped)
	}
}

// TestDamageWhileWriting damages pages that a write has to read.
func TestDamageWhileWriting(t *testing.T) {
	w := newWhole(t)
	page := os.Getpagesize()
	for _, at := range []int{0, 8, 10, pageHead + 4, pageHead + 8} { // of each page: id, flags, count; an element's place and length
		t.Run(fmt.Sprint("byte ", at), func(t *testing.T) {
			p := open(t, w.file)
			p.damage(func(file []byte) []byte {
				for id := 2; id <= lastUsed(w.file); id++ {
					file[id*page+at] ^= 0x40
				}
				return file
			})
			l := encoded(t, w.applied+1, startClock, submit(task(1000, named("new"))), cancel(k(4).String()))
			p.FSM().Apply(l)
			if err := p.flush(); !errors.Is(err, errDamaged) || !p.stopped() {
				t.Fatalf("flush over damaged pages: %v", err)
			}
			if _, err := p.FSM().Snapshot(); !errors.Is(err, errDamaged) {
				t.Errorf("Snapshot after damage: %v", err)
			}
			if err := p.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			p.fatal = nil
			p.reopen() // its lock is free
			if !p.discarded() {
				t.Error("the file is not discarded at the next start")
			}
		})
	}
}
