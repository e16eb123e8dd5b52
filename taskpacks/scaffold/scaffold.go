// Package scaffold writes new packs: for each kind one that installs and runs as it is, with tests, to be changed into one's own.
//
// The templates are files of their own, each under its name in the pack and with .tmpl behind it. In them {{name}} stands for the
// pack's name.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pytasks/taskpacks"
)

//go:embed templates
var templates embed.FS

const suffix = ".tmpl"

// Write makes a pack of that name and kind in dir, which is made if it is absent and must be empty otherwise. A pack of kind wasm
// needs its module built, as its README says, before it can be opened. The error says what to write instead.
func Write(dir, name, kind string) error {
	switch kind {
	case taskpacks.PackPython, taskpacks.PackCommand, taskpacks.PackWASM:
	default:
		return fmt.Errorf("kind %q: use %q, %q or %q", kind, taskpacks.PackPython, taskpacks.PackCommand, taskpacks.PackWASM)
	}
	switch there, err := os.ReadDir(dir); {
	case len(there) > 0:
		return fmt.Errorf("%s is there and not empty: name a new folder, or an empty one", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// A folder without a manifest is that of a Python pack, so this judges the name.
	if _, err := taskpacks.ReadManifest(dir, name, ""); err != nil {
		return err
	}
	root := "templates/" + kind
	return fs.WalkDir(templates, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimSuffix(strings.TrimPrefix(path, root), suffix))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		return write(to, path, name)
	})
}

func write(to, path, name string) error {
	text, err := templates.ReadFile(path)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(string(text), "#!") {
		mode = 0o755
	}
	return os.WriteFile(to, []byte(strings.ReplaceAll(string(text), "{{name}}", name)), mode)
}
