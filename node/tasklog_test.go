package node

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// TestTaskLogKeepsBothEnds: whatever the sizes of the writes, the first and the last bytes are
// kept, and the line between says how many are not.
func TestTaskLogKeepsBothEnds(t *testing.T) {
	for _, step := range []int{1, 7, 1000, logHalf, 2*logHalf + 1, 1 << 20} {
		for _, total := range []int{0, 1, logHalf - 1, logHalf, logHalf + 1, 2 * logHalf, 2*logHalf + 1, 5*logHalf + 3} {
			l := &taskLog{}
			all := make([]byte, total)
			for i := range all {
				all[i] = byte('a' + i%23)
			}
			for rest := all; len(rest) > 0; {
				n := min(step, len(rest))
				if got, err := l.Write(rest[:n]); got != n || err != nil {
					t.Fatalf("Write = %d, %v", got, err)
				}
				rest = rest[n:]
			}
			want := string(all)
			if total > 2*logHalf {
				want = fmt.Sprintf("%s\n... %d bytes are left out here ...\n%s", all[:logHalf], total-2*logHalf, all[total-logHalf:])
			}
			if got := string(l.kept()); got != want || len(got) > 64<<10 {
				t.Fatalf("%d bytes by %d: %d bytes are kept, want %d", total, step, len(got), len(want))
			}
		}
	}
}

// TestTaskLogFollow: a reader gets every byte once, as it comes, and the end.
func TestTaskLogFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &taskLog{}
		var got bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			for at, ended := int64(0), false; !ended; {
				var part []byte
				part, at, ended = l.read(t.Context(), at)
				got.Write(part)
			}
		}()
		for i := range 5 {
			fmt.Fprintf(l, "line %d\n", i)
			synctest.Wait()
			if want := fmt.Sprintf("line %d\n", i); !strings.HasSuffix(got.String(), want) {
				t.Errorf("the reader has %q, want %q at its end", got.String(), want)
			}
		}
		l.end()
		<-done
		if want := "line 0\nline 1\nline 2\nline 3\nline 4\n"; got.String() != want {
			t.Errorf("followed %q, want %q", got.String(), want)
		}
	})
}

// TestTaskLogSlowReader: a reader that falls behind is told how much it missed.
func TestTaskLogSlowReader(t *testing.T) {
	l := &taskLog{}
	l.Write(bytes.Repeat([]byte("x"), logHalf+10))
	part, at, _ := l.read(t.Context(), 0)
	if len(part) != logHalf+10 || at != logHalf+10 {
		t.Fatalf("read %d bytes up to %d", len(part), at)
	}
	l.Write(bytes.Repeat([]byte("y"), 3*logHalf))
	part, at, _ = l.read(t.Context(), at)
	want := fmt.Sprintf("\n... %d bytes are left out here ...\n%s", 2*logHalf, strings.Repeat("y", logHalf))
	if string(part) != want || at != 4*logHalf+10 {
		t.Errorf("read %.60q, %d bytes up to %d; want %.60q, %d bytes", part, len(part), at, want, len(want))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if part, next, ended := l.read(ctx, at); len(part) > 0 || next != at || ended {
		t.Errorf("read where nothing came = %q, %d, %v", part, next, ended)
	}
}
