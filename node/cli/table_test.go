package cli

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var out strings.Builder
	table := newTable(&out, "NAME", "STATUS")
	table.row("a", "alive")
	table.row("long-name", "")
	table.row("b", "two\nlines")
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	want := "NAME       STATUS\na          alive\nlong-name  -\nb          two lines\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
