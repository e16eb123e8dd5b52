package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestMetaFits(t *testing.T) {
	m := meta{cluster: uuid.New(), boot: 1<<64 - 1, load: 255, expect: maxExpect, flags: 255,
		name: strings.Repeat("n", maxName), addr: strings.Repeat("a", maxAddr), info: bytes.Repeat([]byte{1}, maxInfo)}
	raw := m.encode()
	if len(raw) > maxMeta {
		t.Errorf("the largest meta has %d bytes, want at most %d", len(raw), maxMeta)
	}
	got, err := decodeMeta(raw)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, m)
	}
	if _, err := decodeMeta(append([]byte{metaVersion + 1}, raw[1:]...)); err == nil {
		t.Error("a later version was taken for this one")
	}
}

func FuzzMeta(f *testing.F) {
	m := meta{cluster: uuid.New(), name: "a", addr: "127.0.0.1:1", info: []byte("x")}
	f.Add(m.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := decodeMeta(raw)
		if err != nil {
			return
		}
		again, err := decodeMeta(m.encode())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, kindPing, 0, nil))
	f.Add(appendPair(appendFrame(nil, kindResponse, 7, []byte("body")), kindRequest, 8, "method", []byte("body")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := newFrameReader(recorder{io.Discard}, bufio.NewReader(bytes.NewReader(raw)), time.Second)
		for {
			_, _, payload, err := r.next()
			if err != nil {
				return
			}
			if first, body, err := splitPair(payload); err == nil && 1+len(first)+len(body) != len(payload) {
				t.Errorf("%d bytes split into %d and %d", len(payload), len(first), len(body))
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	var sent bytes.Buffer
	writeHello(recorder{&sent}, 0, hello{id: "a", boot: 3, expect: "b", refused: "c", reason: "d"})
	f.Add(sent.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		readHello(bufio.NewReader(bytes.NewReader(raw)))
	})
}

func TestHelloCrosses(t *testing.T) {
	want := hello{cluster: uuid.New(), id: "a", boot: 3, expect: "b", refused: "c", reason: "d"}
	var sent bytes.Buffer
	if err := writeHello(recorder{&sent}, 0, want); err != nil {
		t.Fatal(err)
	}
	if got, err := readHello(bufio.NewReader(&sent)); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// gate is a connection whose writes wait for permission.
type gate struct {
	recorder
	enter chan struct{}
	pass  chan error
	mu    sync.Mutex
	wrote bytes.Buffer
	calls int
}

func (g *gate) Write(p []byte) (int, error) {
	g.enter <- struct{}{}
	if err := <-g.pass; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	return g.wrote.Write(p)
}

func TestWriterGathersFrames(t *testing.T) {
	g := &gate{enter: make(chan struct{}), pass: make(chan error)}
	w := newFrameWriter(g, time.Second)
	first := make(chan error)
	go func() { first <- w.send(kindResponse, 0, []byte("frame")) }()
	<-g.enter // the first sender is writing
	for id := range uint32(100) {
		if err := w.send(kindResponse, 1+id, []byte("frame")); err != nil { // returns at once
			t.Fatal(err)
		}
	}
	g.pass <- nil
	<-g.enter
	g.pass <- nil
	if err := <-first; err != nil || g.calls != 2 {
		t.Errorf("101 frames took %d writes, %v, want 2", g.calls, err)
	}
	r := newFrameReader(recorder{}, bufio.NewReader(&g.wrote), time.Second)
	for want := range uint32(101) {
		if _, id, _, err := r.next(); err != nil || id != want {
			t.Fatalf("frame %d: got %d, %v", want, id, err)
		}
	}
}

func TestWriterFailsForGood(t *testing.T) {
	g := &gate{enter: make(chan struct{}, 1), pass: make(chan error, 1)}
	w := newFrameWriter(g, time.Second)
	broken := errors.New("broken")
	g.pass <- broken
	if err := w.send(kindPing, 0, nil); err != nil {
		t.Errorf("the frame was handed over: %v", err)
	}
	if err := w.send(kindPing, 0, nil); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	var _ net.Conn = g
}
