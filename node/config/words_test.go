package config

import (
	"testing"
	"time"
)

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 30 * time.Second: "30s", 24 * time.Hour: "24h", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m"} {
		if got := ShortDuration(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
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
		if got := DidYouMean(word, names); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
