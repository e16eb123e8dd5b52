//go:build linux

package chaos

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// damage is what is done to the disk of a node that is down.
type damage struct {
	name  string
	file  string // below the data directory; the newest where it has a pattern
	spoil func(file string) error
	says  string // what the node's last words tell the operator to do; "" where it mends itself
}

// flipLast flips a bit in the newest value of a bucket, wherever the file has it.
func flipLast(bucket string) func(file string) error {
	return func(file string) error {
		db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
		if err != nil {
			return err
		}
		var value []byte
		err = db.View(func(tx *bbolt.Tx) error {
			_, v := tx.Bucket([]byte(bucket)).Cursor().Last()
			value = bytes.Clone(v)
			return nil
		})
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		at := bytes.Index(text, value)
		if len(value) < 8 || at < 0 {
			return errors.New("no value to spoil in " + file)
		}
		for ; at >= 0 && at < len(text); at = next(text, value, at) {
			text[at+len(value)/2] ^= 1
		}
		return os.WriteFile(file, text, 0o600)
	}
}

// next returns where a value stands next behind a place, -1 if nowhere.
func next(text, value []byte, at int) int {
	i := bytes.Index(text[at+1:], value)
	if i < 0 {
		return -1
	}
	return at + 1 + i
}

// cutInHalf loses the second half of a file.
func cutInHalf(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.Truncate(file, info.Size()/2)
}

// scribble writes over the middle half of a file, page by page, but not over its head.
func scribble(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for i := max(len(text)/4, 4*4096); i < len(text)*3/4; i++ {
		text[i] = byte(i * 7)
	}
	return os.WriteFile(file, text, 0o600)
}

// corrupted spoils a file of a node that was killed. When the node starts it stops with a message that says what to do,
// and that is done; or it mends the file itself.
func (r *run) corrupted(d damage) {
	r.Helper()
	n := r.all.follower()
	r.kill(n)
	found, err := filepath.Glob(filepath.Join(n.data(), d.file))
	if err != nil || len(found) == 0 {
		r.Fatalf("no file %s: %v", d.file, err)
	}
	r.recorder.Note("spoil "+d.file, n.name)
	check(r, d.spoil(found[len(found)-1]))
	before := len(n.log())
	n.start()
	if d.says != "" {
		code := n.ends(20 * time.Second)
		words := n.log()[before:]
		if code == 0 || !strings.Contains(words, d.says) || strings.Contains(words, "this node leads") {
			r.Errorf("%s, with a spoilt %s, ended with status %d and said %.1500s, want %q", n.name, d.file, code, words, d.says)
		}
		check(r, os.RemoveAll(n.data()))
		check(r, os.Mkdir(n.data(), 0o700))
		n.flags = append(dropFlag("--bootstrap-expect", n.flags), "--join", r.all.joinAddrs())
		n.start()
	}
	r.measured("as many voters again", r.all.vote(votersIn), votersIn)
}

func corruptRows() []row {
	const empty = "empty data directory"
	var rows []row
	for _, d := range []damage{
		{"a bit of the newest log entry flipped", "cluster/raft/raft.db", flipLast("logs"), empty},
		{"the log cut in half", "cluster/raft/raft.db", cutInHalf, empty},
		{"the log scribbled over", "cluster/raft/raft.db", scribble, empty},
		{"the state cut in half", "state/state.db", cutInHalf, ""},
		{"the state scribbled over", "state/state.db", scribble, ""},
		{"a bit of a finished task flipped", "state/state.db", flipLast("done"), ""},
		{"the identity cut in half", "node.json", cutInHalf, "move the data directory away"},
	} {
		rows = append(rows, row{name: d.name, sizes: []int{3}, fault: func(r *run) { r.corrupted(d) }})
	}
	return rows
}
