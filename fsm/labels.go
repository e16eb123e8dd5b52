package fsm

import (
	"maps"
	"slices"
	"strings"
)

// The bounds of labels.
const (
	MaxLabels   = 32 // of a node: those of its start, and those given later, each
	MaxWhere    = 8  // that a task asks for
	maxLabelLen = 63 // bytes of a key, and of a value
)

// ValidLabel says whether a label's key or value may be: 1 to 63 of A-Z a-z 0-9 . _ / -
func ValidLabel(text string) bool {
	if len(text) < 1 || len(text) > maxLabelLen {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z', c == '.', c == '_', c == '/', c == '-':
		default:
			return false
		}
	}
	return true
}

// WhereOf returns what a task asks for as one text, "key=value,key=value" in the order of the keys.
func WhereOf(labels map[string]string) string {
	var b strings.Builder
	for i, key := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key + "=" + labels[key])
	}
	return b.String()
}

// ParseWhere reads such a text; ok is false if WhereOf did not write it of MaxWhere valid labels at most.
func ParseWhere(where string) (labels map[string]string, ok bool) {
	labels = map[string]string{}
	if where == "" {
		return labels, true
	}
	for part := range strings.SplitSeq(where, ",") {
		key, value, _ := strings.Cut(part, "=")
		if !ValidLabel(key) || !ValidLabel(value) {
			return nil, false
		}
		labels[key] = value
	}
	return labels, len(labels) <= MaxWhere && WhereOf(labels) == where
}

// AllLabels returns the labels of a node: those that it was started with, changed by those that it was given later.
func (n *Node) AllLabels() map[string]string {
	labels := map[string]string{}
	for _, l := range n.StartLabels {
		labels[l.Key] = l.Value
	}
	for _, l := range n.LaterLabels {
		if l.Removed {
			delete(labels, l.Key)
		} else {
			labels[l.Key] = l.Value
		}
	}
	return labels
}

// nodeLabel gives a node labels, or takes some away, whatever it is started with.
func (a *applier) nodeLabel(c *NodeLabel) *Outcome {
	n := a.nodes[c.Place.GetNode()]
	if n == nil || n.Gone {
		return &Outcome{Code: Code_NOT_FOUND}
	}
	labels := map[string]*Label{}
	if !c.Forget {
		for _, l := range n.LaterLabels {
			labels[l.Key] = l
		}
	}
	for _, l := range c.Labels {
		if !ValidLabel(l.Key) || !l.Removed && !ValidLabel(l.Value) {
			return &Outcome{Code: Code_MISFIT}
		}
		labels[l.Key] = l.copyOf()
	}
	if len(labels) > MaxLabels {
		return &Outcome{Code: Code_MISFIT}
	}
	n = n.copyOf()
	n.LaterLabels = nil
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		n.LaterLabels = append(n.LaterLabels, labels[key])
	}
	a.putNode(n)
	return &Outcome{}
}

// copyOf shares no memory with the log entry; see newTask. What is removed has no value.
func (l *Label) copyOf() *Label {
	if l.Removed {
		return &Label{Key: strings.Clone(l.Key), Removed: true}
	}
	return &Label{Key: strings.Clone(l.Key), Value: strings.Clone(l.Value)}
}

// text is what the audit log notes of a change of labels.
func (c *NodeLabel) text() string {
	var words []string
	if c.Forget {
		words = append(words, "forget")
	}
	for _, l := range c.Labels {
		if l.Removed {
			words = append(words, l.Key+"-")
		} else {
			words = append(words, l.Key+"="+l.Value)
		}
	}
	return strings.Join(words, " ")
}
