package node

import (
	"fmt"
	"strings"

	"pytasks/fsm"
)

// labels returns the configured labels, by key, as the log holds them.
func (c Config) labels() []*fsm.Label {
	byKey := map[string]string{}
	for _, text := range c.Labels {
		key, value, _ := strings.Cut(text, "=")
		byKey[key] = value
	}
	var out []*fsm.Label
	for label := range strings.SplitSeq(fsm.WhereOf(byKey), ",") {
		if key, value, ok := strings.Cut(label, "="); ok {
			out = append(out, &fsm.Label{Key: key, Value: value})
		}
	}
	return out
}

// checkLabels says what is wrong with the configured labels.
func (c Config) checkLabels() error {
	seen := map[string]bool{}
	for _, text := range c.Labels {
		key, value, ok := strings.Cut(text, "=")
		switch {
		case !ok || !fsm.ValidLabel(key) || !fsm.ValidLabel(value):
			return fmt.Errorf("--label %s is no label; write key=value, each 1 to 63 characters of A-Z a-z 0-9 . _ / -, such as zone=eu", text)
		case seen[key]:
			return fmt.Errorf("--label %s: the key %s is there twice; keep one of the two", text, key)
		}
		seen[key] = true
	}
	if len(seen) > fsm.MaxLabels {
		return fmt.Errorf("--label: %d labels are more than the %d that a node may have", len(seen), fsm.MaxLabels)
	}
	return nil
}
