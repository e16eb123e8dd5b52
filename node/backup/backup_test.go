package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

// content is what a file is made of.
type content struct {
	head    Header
	state   []byte
	blobs   [][]byte
	missing [][sha256.Size]byte
}

// sample is content with everything in it: a state of more than one chunk, blobs and one that is missing.
func sample() *content {
	c := &content{
		head: Header{
			Cluster: "0d8a4c5e-6a1e-4c4b-9f5e-0123456789ab", Node: "n1", Release: "v0.1", Time: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC),
			Index: 4711, Term: 3,
		},
		state:   bytes.Repeat([]byte("state "), 60_000),
		missing: [][sha256.Size]byte{sha256.Sum256([]byte("lost"))},
	}
	for i := range 3 {
		c.blobs = append(c.blobs, bytes.Repeat([]byte{byte('a' + i)}, 1+i*100_000))
	}
	return c
}

// write returns the file of c.
func (c *content) write(t testing.TB) []byte {
	t.Helper()
	c.head.StateBytes, c.head.Blobs, c.head.MissingBlobs, c.head.BlobBytes = int64(len(c.state)), len(c.blobs), len(c.missing), 0
	named := map[[sha256.Size]byte][]byte{}
	for _, b := range c.blobs {
		named[sha256.Sum256(b)] = b
		c.head.BlobBytes += int64(len(b))
	}
	names := slices.Clone(c.missing)
	for name := range named {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	var out bytes.Buffer
	w, err := NewWriter(&out, c.head)
	if err == nil {
		err = w.State(bytes.NewReader(c.state))
	}
	for _, name := range names {
		if b, there := named[name]; there {
			err = errors.Join(err, w.Blob(name, bytes.NewReader(b)))
		} else {
			err = errors.Join(err, w.Missing(name))
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read reads a whole file, and returns what was in it with the first error.
func read(r io.Reader) (*content, error) {
	f, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	c := &content{head: f.Header()}
	for {
		rec, err := f.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		got, err := io.ReadAll(f)
		if err != nil {
			return c, err
		}
		switch rec.Kind {
		case KindState:
			c.state = got
		case KindBlob:
			c.blobs = append(c.blobs, got)
		case KindMissing:
			c.missing = append(c.missing, rec.Name)
		}
	}
}

// same compares contents, whatever the order of the blobs.
func same(t *testing.T, got, want *content) {
	t.Helper()
	slices.SortFunc(got.blobs, bytes.Compare)
	if got.head != want.head || !bytes.Equal(got.state, want.state) || !slices.EqualFunc(got.blobs, want.blobs, bytes.Equal) || !slices.Equal(got.missing, want.missing) {
		t.Errorf("read another content: header %+v, %d bytes of state, %d blobs, missing %x; want header %+v, %d, %d, %x",
			got.head, len(got.state), len(got.blobs), got.missing, want.head, len(want.state), len(want.blobs), want.missing)
	}
}

// TestRoundTrip: what is written is read, however the bytes come.
func TestRoundTrip(t *testing.T) {
	empty := &content{head: Header{Cluster: "c", Index: 1}}
	for name, c := range map[string]*content{"sample": sample(), "empty": empty} {
		file := c.write(t)
		for how, r := range map[string]io.Reader{
			"at once": bytes.NewReader(file), "halves": iotest.HalfReader(bytes.NewReader(file)), "end with the last byte": iotest.DataErrReader(bytes.NewReader(file)),
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				got, err := read(r)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, c)
			})
		}
	}
}

// TestGolden: files of the first format are read for ever, and are what is written today.
func TestGolden(t *testing.T) {
	const path = "testdata/format1.snapshot"
	c := sample()
	c.state, c.blobs = []byte("a state"), [][]byte{[]byte("a"), []byte("bb")}
	now := c.write(t)
	if *update {
		if err := os.WriteFile(path, now, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(bytes.NewReader(kept))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, c)
	if !bytes.Equal(kept, now) {
		t.Errorf("%s is not what is written today: a new format needs a new version", path)
	}
}

// TestDamage: every flipped bit, every cut and everything that is added is found, and where it is said.
func TestDamage(t *testing.T) {
	c := sample()
	c.state, c.blobs = bytes.Repeat([]byte("s"), 300), [][]byte{[]byte("a"), []byte("bb")}
	file := c.write(t)
	for i := range file {
		flipped := bytes.Clone(file)
		flipped[i] ^= 1 << (i % 8)
		if _, err := read(bytes.NewReader(flipped)); err == nil {
			t.Fatalf("byte %d of %d is flipped, and nobody says so", i, len(file))
		} else if i >= len(magic) && !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d is flipped: got %v, want ErrDamaged", i, err)
		}
		if _, err := read(bytes.NewReader(file[:i])); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("cut after %d of %d bytes: got %v, want an error", i, len(file), err)
		}
	}
	if _, err := read(bytes.NewReader(append(bytes.Clone(file), 0))); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte behind the end: got %v, want ErrDamaged", err)
	}
	at := bytes.Index(file, c.state) + 100
	file[at]++
	_, err := read(bytes.NewReader(file))
	if want := fmt.Sprintf("at byte %d: 300 bytes of the state have another checksum", at-104); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("damage in the state: got %v, want %q in it", err, want)
	}
}

// TestNotOurs: what was never a file of ours, or is a newer one, is told so.
func TestNotOurs(t *testing.T) {
	for text, want := range map[string]string{
		"": "no snapshot of a cluster",
		"PK\x03\x04 some zip, longer than the first line": "no snapshot of a cluster",
		"pytasks snapshot 3\nxxx":                         "no snapshot of a cluster",
		"pytasks backup 2\nxxxx":                          `format "2", and this program reads format 1`,
	} {
		if _, err := NewReader(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
	broken := errors.New("the disk is on fire")
	if _, err := read(io.MultiReader(bytes.NewReader(sample().write(t)[:500]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
		t.Errorf("a reader that fails: got %v, want its error, and no damage", err)
	}
}

// TestWriterHolds: a file that is not what its header says is not ended.
func TestWriterHolds(t *testing.T) {
	one, two := [sha256.Size]byte{1}, [sha256.Size]byte{2}
	for name, write := range map[string]func(w *Writer) error{
		"no state":     func(w *Writer) error { return w.Close() },
		"a blob first": func(w *Writer) error { return w.Missing(one) },
		"out of order": func(w *Writer) error {
			return errors.Join(w.State(strings.NewReader("")), w.Missing(two), w.Missing(one))
		},
		"two states": func(w *Writer) error {
			return errors.Join(w.State(strings.NewReader("")), w.State(strings.NewReader("")))
		},
		"one too many":   func(w *Writer) error { return errors.Join(w.State(strings.NewReader("")), w.Missing(one), w.Close()) },
		"longer a state": func(w *Writer) error { return errors.Join(w.State(strings.NewReader("x")), w.Close()) },
	} {
		w, err := NewWriter(io.Discard, Header{})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(w); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestWrongName: a blob under the name of another is damage, though every checksum of the file is right.
func TestWrongName(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Blobs: 1, BlobBytes: 1})
	if err == nil {
		err = errors.Join(w.State(strings.NewReader("")), w.Blob(sha256.Sum256([]byte("a")), strings.NewReader("b")), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(&out); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "has another SHA-256") {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// TestMemory: a large file is read and written with little memory.
func TestMemory(t *testing.T) {
	const size = 256 << 20
	r, w := io.Pipe()
	go func() {
		f, err := NewWriter(w, Header{StateBytes: size})
		if err == nil {
			err = errors.Join(f.State(io.LimitReader(zeros{}, size)), f.Close())
		}
		w.CloseWithError(err)
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := NewReader(r)
	for err == nil {
		_, err = f.Next()
	}
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.EOF) || f.Offset() < size {
		t.Errorf("read %d bytes to %v, want more than %d to EOF", f.Offset(), err, size)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("%d bytes of memory were allocated for a file of %d, want some hundred KiB", got, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzReader: no file makes the reader panic, take memory without end, or go on after an error.
func FuzzReader(f *testing.F) {
	c := sample()
	c.state, c.blobs = []byte("a state"), [][]byte{[]byte("a"), []byte("bb")}
	whole := c.write(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-10])
	f.Add([]byte(magic + "h"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for err == nil {
			_, err = r.Next()
		}
		if _, again := r.Next(); again != err {
			t.Errorf("after %v came %v", err, again)
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v, want damage or the end", err)
		}
		if errors.Is(err, io.EOF) && r.Offset() != int64(len(file)) {
			t.Errorf("the end came at byte %d of %d", r.Offset(), len(file))
		}
	})
}
