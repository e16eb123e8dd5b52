package node

import (
	"strings"

	"pytasks/fsm"
)

// labelsOf returns configured labels, by key, as the log holds them.
func labelsOf(texts []string) []*fsm.Label {
	byKey := map[string]string{}
	for _, text := range texts {
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
