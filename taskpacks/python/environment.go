package python

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	requirementsFile = "requirements.txt"
	wheelsDir        = "wheels"   // of a pack: if it is there, nothing is downloaded
	builtFile        = "built.ok" // of an environment: written last, so that one that was left half built is made anew
	lockSuffix       = ".lock"    // of a file beside each environment
	lockPoll         = 100 * time.Millisecond
	killGrace        = time.Second // what a killed installer's pipes may stay open
)

// environment is a virtual environment in use, which Sweep spares. The zero value is that of a pack which requires nothing.
type environment struct {
	path string
	use  *os.File // its lock, shared among those who use it
}

func (e environment) release() {
	if e.use != nil {
		e.use.Close()
	}
}

// openEnvironment makes the virtual environment that the pack in dir needs below envs, if it is not there yet. Packs with the
// same requirements share one. It is built where it stays: the scripts in an environment hold its path.
func openEnvironment(ctx context.Context, base interpreter, dir, envs string) (environment, error) {
	key, err := environmentKey(base, dir)
	if err != nil || key == "" {
		return environment{}, err
	}
	env := filepath.Join(envs, key)
	for {
		use, err := inUse(env)
		if err == nil {
			return environment{env, use}, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = build(ctx, base, dir, env)
		}
		if errors.Is(err, unix.EWOULDBLOCK) { // others look at it or build it; there is no waiting that could be given up
			select {
			case <-ctx.Done():
				return environment{}, fmt.Errorf("wait for the Python environment %s: %w", env, ctx.Err())
			case <-time.After(lockPoll):
			}
		} else if err != nil {
			return environment{}, err
		}
	}
}

// inUse returns the lock, shared with others, that keeps an environment from Sweep; fs.ErrNotExist if it is not built.
func inUse(env string) (*os.File, error) {
	use, err := tryLock(env+lockSuffix, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := os.Chtimes(filepath.Join(env, builtFile), now, now); err != nil {
		use.Close()
		return nil, fmt.Errorf("look at the Python environment: %w", err)
	}
	return use, nil
}

// build makes an environment, unless somebody else has meanwhile; unix.EWOULDBLOCK while its lock is held.
func build(ctx context.Context, base interpreter, dir, env string) error {
	alone, err := tryLock(env+lockSuffix, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer alone.Close()
	if _, err := os.Stat(filepath.Join(env, builtFile)); err == nil {
		return nil
	}
	if err := os.RemoveAll(env); err != nil {
		return fmt.Errorf("remove a half-built Python environment: %w", err)
	}
	for _, argv := range buildSteps(base, dir, env) {
		cmd := command(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("install %s: %s: %w\n%s", requirementsFile, strings.Join(argv, " "), err, end(output))
		}
	}
	return os.WriteFile(filepath.Join(env, builtFile), nil, 0o600)
}

// Sweep removes the environments below envs that nobody uses and that no pack was opened with for so long.
func Sweep(envs string, unused time.Duration) error {
	locks, err := filepath.Glob(filepath.Join(envs, "*"+lockSuffix))
	if err != nil {
		return fmt.Errorf("list the Python environments: %w", err)
	}
	var errs []error
	for _, path := range locks {
		alone, err := tryLock(path, unix.LOCK_EX)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		env := strings.TrimSuffix(path, lockSuffix)
		if info, err := os.Stat(filepath.Join(env, builtFile)); err != nil || time.Since(info.ModTime()) >= unused {
			errs = append(errs, os.RemoveAll(env)) // the lock stays: somebody may be waiting for it
		}
		alone.Close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove unused Python environments: %w", err)
	}
	return nil
}

// buildSteps returns the commands that build an environment.
func buildSteps(base interpreter, dir, env string) [][]string {
	python := pythonOf(env)
	make := []string{base.Executable, "-I", "-m", "venv", env}
	install := []string{python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"}
	if uv, err := exec.LookPath("uv"); err == nil {
		make = []string{uv, "venv", "--python", base.Executable, env}
		install = []string{uv, "pip", "install", "--python", python, "--compile-bytecode"}
	}
	if wheels := filepath.Join(dir, wheelsDir); isDir(wheels) {
		install = append(install, "--no-index", "--find-links", wheels)
	}
	return [][]string{make, append(install, "-r", filepath.Join(dir, requirementsFile))}
}

func pythonOf(env string) string { return filepath.Join(env, "bin", "python") }

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// environmentKey names the environment by all that decides what is in it; "" if nothing is required.
func environmentKey(base interpreter, dir string) (string, error) {
	required, err := requirements(filepath.Join(dir, requirementsFile))
	if err != nil || len(required) == 0 {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, wheelsDir, "*"))
	if err != nil {
		return "", fmt.Errorf("list the wheels: %w", err)
	}
	if slices.ContainsFunc(required, func(line string) bool { return line[0] == '-' }) {
		more, err := filepath.Glob(filepath.Join(dir, "*.txt")) // an option may name one of them
		if err != nil {
			return "", fmt.Errorf("list the requirements: %w", err)
		}
		files = append(files, slices.DeleteFunc(more, func(path string) bool { return filepath.Base(path) == requirementsFile })...)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %s\n%s\n", base.Executable, base.Version, base.Platform, strings.Join(required, "\n"))
	for _, file := range files {
		if err := hashFile(sum, file); err != nil {
			return "", fmt.Errorf("hash the requirements: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// requirements returns the lines of a requirements file that ask for something.
func requirements(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the requirements: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(bytes.TrimPrefix(text, []byte("\ufeff")))) {
		line = strings.TrimSpace(line)
		if i := strings.Index(line, " #"); i >= 0 {
			line = strings.TrimSpace(line[:i])
		}
		if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func hashFile(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	content := sha256.New()
	if _, err := io.Copy(content, f); err != nil {
		return err
	}
	fmt.Fprintf(to, "%s %x\n", filepath.Base(path), content.Sum(nil))
	return nil
}

// tryLock locks a file, shared or exclusive; closing it unlocks it. It returns unix.EWOULDBLOCK if another goroutine or process
// holds the lock.
func tryLock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// command returns a program of this package's own: its process group is killed when ctx ends, and it sees of the node's
// environment what installers need. A source package runs code of strangers when it is built.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return !forInstallers(kv) })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	return cmd
}

func forInstallers(kv string) bool {
	key, _, _ := strings.Cut(kv, "=")
	switch key = strings.ToUpper(key); key {
	case "PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CC", "CXX":
		return true
	}
	return strings.HasSuffix(key, "_PROXY") || strings.HasPrefix(key, "PIP_") || strings.HasPrefix(key, "UV_") ||
		strings.HasPrefix(key, "LC_") || strings.HasPrefix(key, "XDG_")
}
