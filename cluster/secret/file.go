package secret

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// maxFile is the largest file of secrets, in bytes.
const maxFile = 64 << 10

// ReadFile reads secrets, one in a line: the first is used, the others are honoured too. Empty lines and those that begin
// with # are skipped. A file that others can read is refused.
func ReadFile(path string) ([]Secret, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	var all []Secret
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := Parse(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s holds no secret: %w", path, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no secret: make one with `pytasks secret new`", path)
	}
	return all, nil
}

// Private reports whether nobody else on the machine can read a file, or change it. A group may read one that is root's if this
// process is not: who hands secrets to a service, as systemd, Kubernetes and packages of Debian do, chooses its group for that.
func Private(info fs.FileInfo) bool { return private(info, os.Geteuid()) }

func private(info fs.FileInfo, uid int) bool {
	others := info.Mode().Perm() & 0o077
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && stat.Uid == 0 && uid != 0 && info.Mode().IsRegular() {
		others &^= 0o040
	}
	return others == 0
}

// readPrivate reads a file that nobody else on the machine can read.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case !Private(info):
		return nil, fmt.Errorf("%s has the mode %04o, so that others on this machine can read it: chmod 0600 %[1]s", path, mode.Perm())
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, %d at most", path, info.Size(), maxFile)
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil && len(text) > 0 {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

// KeptFile is where a node keeps, in its data directory, what rotations have made of the secrets that it was given: a Kept, as
// JSON. There is none before the first rotation.
const KeptFile = "secrets.json"

// Kept is what is in KeptFile.
type Kept struct {
	Secrets  []string `json:"secrets"`  // the first is used
	From     string   `json:"from"`     // id of the one that a rotation under way replaces
	Replaced []string `json:"replaced"` // ids of those that are not honoured any more
}
