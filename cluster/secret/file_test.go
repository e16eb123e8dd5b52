package secret

import (
	"io/fs"
	"syscall"
	"testing"
	"time"
)

// file is a file as somebody sees it who asks for its owner and mode.
type file struct {
	owner uint32
	mode  fs.FileMode
}

func (f file) Name() string       { return "file" }
func (f file) Size() int64        { return 0 }
func (f file) Mode() fs.FileMode  { return f.mode }
func (f file) ModTime() time.Time { return time.Time{} }
func (f file) IsDir() bool        { return f.mode.IsDir() }
func (f file) Sys() any           { return &syscall.Stat_t{Uid: f.owner} }

func TestPrivate(t *testing.T) {
	for name, c := range map[string]struct {
		file file
		uid  int // who asks
		want bool
	}{
		"one's own":                     {file{1000, 0o600}, 1000, true},
		"one's own, for a group":        {file{1000, 0o640}, 1000, false},
		"one's own, for all":            {file{1000, 0o604}, 1000, false},
		"of root, for a service":        {file{0, 0o440}, 1000, true},
		"of root, for a service and it": {file{0, 0o460}, 1000, false},
		"of root, for all":              {file{0, 0o444}, 1000, false},
		"of another, for a group":       {file{1001, 0o440}, 1000, false},
		"root's own":                    {file{0, 0o600}, 0, true},
		"root's own, for a group":       {file{0, 0o640}, 0, false},
		"a folder of root":              {file{0, fs.ModeDir | 0o750}, 1000, false},
	} {
		if got := private(c.file, c.uid); got != c.want {
			t.Errorf("%s: private is %v, want %v", name, got, c.want)
		}
	}
}
