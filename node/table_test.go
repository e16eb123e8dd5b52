package node

import (
	"strings"
	"testing"
	"time"
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

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 30 * time.Second: "30s", 24 * time.Hour: "24h", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m"} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	if got := nearest("lable", []string{"slots", "label", "name"}); got != "label" {
		t.Errorf("got %q, want %q", got, "label")
	}
	if got := nearest("x", nil); got != "" {
		t.Errorf("got %q of no candidates, want none", got)
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"hello.main.greet", "hello.main.total"}
	for word, want := range map[string]string{
		"hello.main.gret": `; did you mean "hello.main.greet"?`,
		"total":           `; did you mean "hello.main.total"?`,
		"other.sub.func":  "",
	} {
		if got := didYouMean(word, names); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
