package history

import (
	"fmt"
	"strings"
	"time"
)

// String names the operation in a violation.
func (op *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client %d's ", op.Client)
	if op.Consistency != "" {
		b.WriteString(op.Consistency + " ")
	}
	fmt.Fprintf(&b, "%s at %s (%s to %s)", op.Kind, op.Node, moment(op.Call), moment(op.Return))
	switch {
	case op.Record != nil:
		fmt.Fprintf(&b, ": %v", op.Record)
	case op.Outcome != OK:
		fmt.Fprintf(&b, ": %s, %s", op.Outcome, op.Code)
	case op.Final != "":
		b.WriteString(": " + op.Final)
	}
	return b.String()
}

// String names what was read in a violation.
func (r *Record) String() string {
	switch {
	case r.Status == Absent:
		return "no such task"
	case r.Final():
		text := fmt.Sprintf("%s of attempt %d at %q", r.Status, r.Attempt, r.Node)
		if r.Result != "" {
			text += ", result " + r.Result
		}
		if r.Reason != "" {
			text += ", reason " + r.Reason
		}
		return text + ", record " + r.Sum
	}
	return fmt.Sprintf("%s, attempt %d", r.Status, r.Attempt)
}

// String names the run in a violation.
func (r *run) String() string {
	end := "no end"
	if r.how != "" {
		end = r.how + " at " + moment(r.ended)
	}
	return fmt.Sprintf("attempt %d at %s (start at %s, %s)", r.Attempt, r.Node, moment(r.At), end)
}

// moment is a time since the recorder's start, for people.
func moment(ns int64) string { return time.Duration(ns).Round(time.Microsecond).String() }
