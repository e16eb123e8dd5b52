// Package archive unpacks the archives in which packs travel, and makes them. An archive comes from strangers: what it says of
// itself is judged as a whole before a byte of it is written.
//
// It knows zip and tar.gz, and does not look into archives inside them. Start reading at Unpack.
package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Limits bounds what Unpack writes.
type Limits struct {
	Files int   // files and folders, also those that are not named by an entry of their own; 0 = 10,000
	Bytes int64 // of all files together, of a tar.gz with its headers; 0 = 1 GiB
	Ratio int64 // unpacked bytes for each byte of the archive, once they are more than 1 MiB; 0 = 200
	Path  int   // bytes of a path; 0 = 512
	Depth int   // folders above a file, the common one included; 0 = 32
}

// ratioFrom is how many bytes are unpacked whatever the ratio: a few repetitive lines pack better than any limit.
const ratioFrom = 1 << 20

func (l Limits) withDefaults() Limits {
	return Limits{
		Files: orDefault(l.Files, 10_000),
		Bytes: orDefault(l.Bytes, 1<<30),
		Ratio: orDefault(l.Ratio, 200),
		Path:  orDefault(l.Path, 512),
		Depth: orDefault(l.Depth, 32),
	}
}

func orDefault[T int | int64](n, otherwise T) T {
	if n == 0 {
		return otherwise
	}
	return n
}

// bytes returns how much an archive of size bytes may unpack to.
func (l Limits) bytes(size int64) int64 {
	if size > l.Bytes/l.Ratio { // the product could overflow
		return l.Bytes
	}
	return min(l.Bytes, max(ratioFrom, size*l.Ratio))
}

// Error is why an archive is refused.
type Error struct {
	Entry  string // the entry that is to blame, as the archive names it; "" = the archive as a whole
	Reason string // the rest of a sentence
	Err    error  // the cause, where there is one
}

// Error returns the whole sentence.
func (e *Error) Error() string {
	text := "the archive " + e.Reason
	if e.Entry != "" {
		text = fmt.Sprintf("the archive's entry %.200q %s", e.Entry, e.Reason)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Unpack writes the content of the zip or tar.gz of size bytes in r to dir, an empty folder. If all of it lies in one folder,
// as hosts of sources make their archives, that folder is left out and its name returned as root; "" if there is none.
//
// Files get the mode 0644, or 0755 if their owner may execute them, folders 0755; times are not kept. Refused, by an *Error,
// are archives that are damaged, empty, larger than the limits, or hold an entry that is not a file or a folder, whose path
// leads out of the folder or would not mean the same everywhere, or that is there twice, in upper or lower case. After an
// error of any kind dir is empty.
func Unpack(r io.ReaderAt, size int64, dir string, l Limits) (root string, err error) {
	l = l.withDefaults()
	target, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("unpack to %s: %w", dir, err)
	}
	defer target.Close()
	if names, err := namesIn(target); err != nil {
		return "", fmt.Errorf("unpack to %s: %w", dir, err)
	} else if len(names) > 0 {
		return "", fmt.Errorf("unpack to %s: the folder must be empty, and holds %s", dir, names[0])
	}

	src, err := open(r, size, l)
	if err != nil {
		return "", err
	}
	plan := newPlan(l, l.bytes(size))
	if err := src.each(func(h header, _ opener) error { return plan.add(h) }); err != nil {
		return "", err
	}
	root, err = plan.finish()
	if err != nil {
		return "", err
	}
	if err := write(target, src, plan); err != nil {
		return "", errors.Join(err, empty(target))
	}
	return root, nil
}

// write reads the archive a second time and writes what plan holds.
func write(target *os.Root, src source, plan *plan) error {
	n := 0
	err := src.each(func(h header, open opener) error {
		if n == len(plan.entries) || plan.entries[n].header != h {
			return &Error{Reason: "changed while it was read"}
		}
		e := plan.entries[n]
		n++
		switch {
		case e.path == "":
			return nil
		case e.dir:
			return makeDir(target, e.path)
		}
		if err := makeDir(target, path.Dir(e.path)); err != nil {
			return err
		}
		return writeFile(target, e, open)
	})
	if err == nil && n < len(plan.entries) {
		err = &Error{Reason: "changed while it was read"}
	}
	return err
}

// makeDir makes a folder and those above it, with the same mode under any umask.
func makeDir(target *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if info, err := target.Lstat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := makeDir(target, path.Dir(name)); err != nil {
		return err
	}
	if err := target.Mkdir(name, dirMode); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return target.Chmod(name, dirMode)
}

// The modes of what is unpacked.
const (
	dirMode  fs.FileMode = 0o755
	fileMode fs.FileMode = 0o644
	execMode fs.FileMode = 0o755
)

// modeOf returns the mode of a file that has mode elsewhere.
func modeOf(mode fs.FileMode) fs.FileMode {
	if mode&0o100 != 0 {
		return execMode
	}
	return fileMode
}

func writeFile(target *os.Root, e entry, open opener) (err error) {
	body, err := open()
	if err != nil {
		return &Error{Entry: e.name, Reason: "cannot be read", Err: err}
	}
	defer body.Close()

	mode := modeOf(e.mode)
	// O_EXCL goes along no link, whoever put it there meanwhile.
	f, err := target.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(mode); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	from := &entryReader{entry: e.name, r: body}
	if n, err := io.Copy(f, from); err != nil {
		return fmt.Errorf("unpack: %w", err)
	} else if n != e.size {
		return &Error{Entry: e.name, Reason: fmt.Sprintf("has %d bytes and announces %d", n, e.size)}
	}
	return nil
}

// entryReader marks what goes wrong while an archive is read, so that it is not taken for a full disk.
type entryReader struct {
	entry string
	r     io.Reader
}

func (r *entryReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = &Error{Entry: r.entry, Reason: "is damaged or was cut short", Err: err}
	}
	return n, err
}

func namesIn(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// empty removes all that is in a folder.
func empty(root *os.Root) error {
	names, err := namesIn(root)
	for _, name := range names {
		err = errors.Join(err, root.RemoveAll(name))
	}
	return err
}
