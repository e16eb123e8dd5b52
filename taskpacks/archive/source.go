package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// source is an opened archive.
type source interface {
	// each calls visit for each entry, in order, until one returns an error. It may be called again.
	each(visit func(header, opener) error) error
}

// opener gives the content of the entry that is visited.
type opener func() (io.ReadCloser, error)

// open finds out what kind of archive r is.
func open(r io.ReaderAt, size int64, l Limits) (source, error) {
	var magic [4]byte
	n, err := r.ReadAt(magic[:min(size, int64(len(magic)))], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, damaged(err)
	}
	switch {
	case bytes.HasPrefix(magic[:n], []byte("PK\x03\x04")), bytes.HasPrefix(magic[:n], []byte("PK\x05\x06")):
		// The reader takes in all names at once, so a list that is too long has to end early.
		const directory, perFile = 1 << 20, 512
		budget := &budgetReader{r: r, left: directory + perFile*int64(l.Files), limit: l.Files}
		z, err := zip.NewReader(budget, size)
		if err != nil {
			return nil, damaged(err)
		}
		budget.off = true
		return zipSource{z}, nil
	case bytes.HasPrefix(magic[:n], []byte("\x1f\x8b")):
		return &tarSource{r: r, size: size, bytes: l.bytes(size)}, nil
	}
	return nil, &Error{Reason: "is neither a zip nor a tar.gz file"}
}

// damaged makes an *Error of what goes wrong while the archive is read.
func damaged(err error) error {
	if refusal := (*Error)(nil); errors.As(err, &refusal) {
		return refusal
	}
	return &Error{Reason: "is damaged or was cut short", Err: err}
}

// budgetReader ends with an error when more than left bytes were read.
type budgetReader struct {
	r     io.ReaderAt
	left  int64
	limit int
	off   bool
}

func (b *budgetReader) ReadAt(p []byte, at int64) (int, error) {
	n, err := b.r.ReadAt(p, at)
	if b.left -= int64(n); b.left < 0 && !b.off {
		return 0, &Error{Reason: fmt.Sprintf("has more than %d files and folders", b.limit)}
	}
	return n, err
}

type zipSource struct{ z *zip.Reader }

func (s zipSource) each(visit func(header, opener) error) error {
	for _, f := range s.z.File {
		mode := f.Mode()
		h := header{name: f.Name, dir: mode.IsDir(), mode: mode.Perm(), size: int64(f.UncompressedSize64)} // < 0 is refused
		switch {
		case f.Flags&1 != 0:
			h.problem = "is encrypted"
		case f.Method != zip.Store && f.Method != zip.Deflate:
			h.problem = "is packed in a way that is not known: use deflate"
		case mode&fs.ModeSymlink != 0:
			h.problem = linkProblem
		case mode.Type()&^fs.ModeDir != 0:
			h.problem = deviceProblem
		}
		if h.dir {
			h.size = 0
		}
		if err := visit(h, f.Open); err != nil {
			return err
		}
	}
	return nil
}

const (
	linkProblem   = "is a link: put the file itself there"
	deviceProblem = "is neither a file nor a folder"
)

type tarSource struct {
	r     io.ReaderAt
	size  int64
	bytes int64 // of the whole tar, at most
}

func (s *tarSource) each(visit func(header, opener) error) error {
	z, err := gzip.NewReader(io.NewSectionReader(s.r, 0, s.size))
	if err != nil {
		return damaged(err)
	}
	raw := &boundedReader{r: z, left: s.bytes}
	t := tar.NewReader(raw)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return damaged(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := visit(headerOf(h), func() (io.ReadCloser, error) { return io.NopCloser(t), nil }); err != nil {
			return err
		}
	}
	// What follows the last entry is nothing but the checksum, which tells whether all was as it was made.
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return damaged(err)
	}
	return nil
}

func headerOf(t *tar.Header) header {
	h := header{name: t.Name, mode: t.FileInfo().Mode().Perm(), size: t.Size}
	switch t.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		h.dir, h.size = true, 0
	case tar.TypeSymlink, tar.TypeLink:
		h.problem = linkProblem
	default:
		h.problem = deviceProblem
	}
	return h
}

// boundedReader ends with an error when there is more than left bytes.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &Error{Reason: "unpacks to more bytes than it may"}
	}
	return n, err
}
