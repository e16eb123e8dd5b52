//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"
)

// settings are the flags of the tests, for all of them the same.
type settings struct {
	chaos bool
	runs  int
	table string
	keep  string
	soak  time.Duration
}

var flags settings

// programs are what the nodes run, built once per test run.
type programs struct {
	once   sync.Once
	dir    string
	plain  string // the program and the pack of the workload
	broken string // with failpoints too
	err    error
}

var built programs

func TestMain(m *testing.M) {
	flag.BoolVar(&flags.chaos, "chaos", false, "run the whole matrix of faults, about 30 minutes")
	flag.IntVar(&flags.runs, "runs", 1, "how often each fault of the matrix is run")
	flag.StringVar(&flags.table, "table", "", "the file that the matrix's table is written to")
	flag.StringVar(&flags.keep, "keep", "", "a folder that keeps data, logs and histories of runs that failed")
	flag.DurationVar(&flags.soak, "soak", 0, "run the soak test for so long")
	flag.Parse()
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program returns the path of the program, with failpoints or without. It has the race detector if this test has.
func program(t testing.TB, failpoints bool) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "pytasks-chaos-"); built.err != nil {
			return
		}
		built.plain, built.broken = filepath.Join(built.dir, "plain"), filepath.Join(built.dir, "broken")
		for path, tags := range map[string]string{built.plain: "", built.broken: "failpoints"} {
			args := []string{"build", "-tags", tags, "-o", path}
			if raced() {
				args = append(args, "-race")
			}
			if out, err := exec.Command("go", append(args, "pytasks/node/history/chaosnode")...).CombinedOutput(); err != nil {
				built.err = fmt.Errorf("go build: %w\n%s", err, out)
				return
			}
		}
	})
	check(t, built.err)
	if failpoints {
		return built.broken
	}
	return built.plain
}

// raced says whether this test has the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
