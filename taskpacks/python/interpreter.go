package python

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"pytasks/taskpacks"
)

// maxOutput is how much of a failed program's output is told in its error, in bytes.
const maxOutput = 4 << 10

//go:embed runner.py
var runnerSource []byte

// interpreter is a Python that packs can run under.
type interpreter struct {
	Executable string // absolute
	Version    string // "3.11.7"
	Platform   string // "linux-x86_64"
	Runner     string // runner.py, compiled for it
}

// probe tells of an interpreter and compiles the runner, argv[1], beside it: reading it takes a fourth of the time that an
// interpreter needs to start. The one that is told may be another than the one that was started, which may be a script.
const probe = `
import json, sys
if sys.version_info < (3, 8):
    sys.exit("Python %d.%d is too old" % sys.version_info[:2])
import os, sysconfig
source = sys.argv[1]
runner = "%s.%s.pyc" % (source[:-3], sys.implementation.cache_tag)
if not os.path.exists(runner):
    import py_compile
    py_compile.compile(source, runner, doraise=True)
print(json.dumps({
    "Executable": sys.executable,
    "Version": "%d.%d.%d" % sys.version_info[:3],
    "Platform": sysconfig.get_platform(),
    "Runner": runner,
}))
`

// findInterpreter returns the interpreter of that name or path, "" for python3, with the runner below dir. Where there is none
// that packs can use, the error wraps taskpacks.ErrNotEligible.
func findInterpreter(ctx context.Context, name, dir string) (interpreter, error) {
	if name == "" {
		name = "python3"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return interpreter{}, fmt.Errorf("%w: %w: install Python 3.8 or later, or name its interpreter", taskpacks.ErrNotEligible, err)
	}
	source, err := writeRunner(dir)
	if err != nil {
		return interpreter{}, err
	}
	cmd := command(ctx, path, "-I", "-B", "-c", probe, source)
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return interpreter{}, fmt.Errorf("start %s: %w", path, ctx.Err())
		}
		return interpreter{}, fmt.Errorf("%w: %s: %w: %s: Python 3.8 or later is needed",
			taskpacks.ErrNotEligible, path, err, end(complained.Bytes()))
	}
	var found interpreter
	if err := json.Unmarshal(said.Bytes(), &found); err != nil || !filepath.IsAbs(found.Executable) {
		return interpreter{}, fmt.Errorf("%w: %s is no Python: it printed %q", taskpacks.ErrNotEligible, path, end(said.Bytes()))
	}
	return found, nil
}

// writeRunner puts runner.py below dir, under a name of its content, and returns its path.
func writeRunner(dir string) (string, error) {
	sum := sha256.Sum256(runnerSource)
	path := filepath.Join(dir, "runner-"+hex.EncodeToString(sum[:6])+".py")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, runnerSource) {
		return path, nil
	}
	temp, err := os.CreateTemp(dir, "runner-*")
	if err != nil {
		return "", fmt.Errorf("write the Python runner: %w", err)
	}
	_, err = temp.Write(runnerSource)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
		return "", fmt.Errorf("write the Python runner: %w", err)
	}
	return path, nil
}

// end returns the end of a program's output, without the blanks around it.
func end(output []byte) []byte {
	output = bytes.TrimSpace(output)
	return bytes.ToValidUTF8(output[max(0, len(output)-maxOutput):], nil)
}
