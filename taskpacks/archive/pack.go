package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Pack writes the folder dir to w as a tar.gz that Unpack takes. The same files give the same bytes, wherever and whenever
// they are packed: entries are sorted, times left out and modes reduced to 0644 and 0755. Left out as well is what belongs to
// the author's machine: .git, .venv, __pycache__, *.pyc, .DS_Store. Anything that is neither a file nor a folder, links
// included, is an error with its name, and so is what Unpack would refuse or unpack to another place.
func Pack(w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	defer root.Close()

	plan, err := planOf(root.FS())
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, e := range plan.entries {
		if err := packEntry(t, root, e); err != nil {
			return fmt.Errorf("pack %s: %w", filepath.Join(dir, e.path), err)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}

// planOf lists and judges what is to be packed.
func planOf(files fs.FS) (*plan, error) {
	limits := Limits{}.withDefaults()
	plan := newPlan(limits, limits.Bytes)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case isLeftOut(d.Name()) && d.IsDir():
			return fs.SkipDir
		case isLeftOut(d.Name()):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := header{name: name, dir: d.IsDir(), mode: info.Mode().Perm(), size: info.Size()}
		switch {
		case h.dir:
			h.size = 0
		case info.Mode()&fs.ModeSymlink != 0:
			h.problem = linkProblem
		case !info.Mode().IsRegular():
			h.problem = deviceProblem
		}
		return plan.add(h)
	})
	if err != nil {
		return nil, err
	}
	if !plan.hasFile() {
		return nil, errors.New("the folder holds no files")
	}
	if common := plan.common(); common != "" {
		return nil, fmt.Errorf("there is nothing but the folder %s: pack that one, or put a file beside it", common)
	}
	return plan, nil
}

func isLeftOut(name string) bool {
	switch name {
	case ".git", ".venv", "__pycache__", ".DS_Store":
		return true
	}
	return path.Ext(name) == ".pyc"
}

func packEntry(t *tar.Writer, root *os.Root, e entry) error {
	if e.dir {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: e.path + "/", Mode: int64(dirMode)})
	}
	f, err := root.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.path, Mode: int64(modeOf(e.mode)), Size: e.size}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(t, f, e.size); err != nil {
		return fmt.Errorf("the file became shorter while it was read: %w", err)
	}
	return nil
}
