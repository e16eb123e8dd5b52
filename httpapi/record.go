package httpapi

import (
	"strconv"
	"strings"

	"pytasks/fsm"
)

// appendTask writes all that is known of a task. What does not apply yet is
// left out; id, status and result are always there.
func (a *api) appendTask(b []byte, t *fsm.Task) []byte {
	b = appendResult(appendToResult(b, t), t)
	b = append(appendToArgs(b, t), t.Args...)
	return a.appendRest(b, t)
}

// appendToResult writes a task up to its result.
func appendToResult(b []byte, t *fsm.Task) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, t.ID())
	b = append(b, `,"status":"`...)
	b = append(b, t.Status.String()...)
	return append(b, `","result":`...)
}

// appendToArgs writes what stands between the result and the args.
func appendToArgs(b []byte, t *fsm.Task) []byte {
	b = append(b, `,"type":`...)
	b = appendString(b, t.Type)
	return append(b, `,"args":`...)
}

// appendRest writes what follows the args.
func (a *api) appendRest(b []byte, t *fsm.Task) []byte {
	b = a.appendFacts(b, t)
	if p := t.Progress; p != nil && t.Status == fsm.Status_STARTED {
		b = append(b, `,"progress":{"fraction":`...)
		b = strconv.AppendFloat(b, p.Fraction, 'f', -1, 64)
		b = append(b, `,"text":`...)
		b = appendString(b, p.Text)
		b = append(b, '}')
	}
	if t.Error != nil {
		b = append(b, `,"error":{"type":`...)
		b = appendString(b, t.Error.Type)
		b = append(b, `,"message":`...)
		b = appendString(b, t.Error.Message)
		b = append(b, `,"traceback":`...)
		b = appendString(b, t.Error.Traceback)
		b = append(b, '}')
	}
	if len(t.Past) > 0 {
		b = append(b, `,"attempts":[`...)
		for i, p := range t.Past {
			if i > 0 {
				b = append(b, ',')
			}
			b = a.appendPast(b, p)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendSummary writes a task as lists show it: without what may be large.
func (a *api) appendSummary(b []byte, t *fsm.Task) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, t.ID())
	b = append(b, `,"status":"`...)
	b = append(b, t.Status.String()...)
	b = append(b, `","type":`...)
	b = appendString(b, t.Type)
	b = a.appendFacts(b, t)
	if t.Error != nil {
		b = append(b, `,"error":{"type":`...)
		b = appendString(b, t.Error.Type)
		b = append(b, `,"message":`...)
		b = appendString(b, t.Error.Message)
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendFacts writes what is short, beginning with a comma.
func (a *api) appendFacts(b []byte, t *fsm.Task) []byte {
	if t.Release != "" {
		b = append(b, `,"release":`...)
		b = appendString(b, t.Release)
	}
	b = append(b, `,"attempt":`...)
	b = appendInt(b, int64(t.Attempt))
	if t.Attempt > 0 && t.Place != nil {
		b = append(b, `,"node":`...)
		b = appendString(b, a.Tasks.NodeName(t.Place.Node))
	}
	if t.Owner != "" {
		b = append(b, `,"owner":`...)
		b = appendString(b, t.Owner)
	}
	b = append(b, `,"created_at":`...)
	b = appendTime(b, t.CreatedMs)
	b = appendMoment(b, "due_at", t.DueMs)
	if t.Status == fsm.Status_STARTED { // when it started is told with its outcome
		b = appendMoment(b, "assigned_at", t.AssignedMs)
	}
	b = appendMoment(b, "started_at", t.StartedMs)
	b = appendMoment(b, "finished_at", t.FinishedMs)
	b = append(b, `,"priority":`...)
	b = appendInt(b, int64(t.Priority))
	b = append(b, `,"tags":`...)
	b = appendStrings(b, t.Tags)
	if t.Where != "" {
		b = append(b, `,"where":`...)
		b = appendWhere(b, t.Where)
	}
	if t.TimeoutMs > 0 {
		b = append(b, `,"timeout":`...)
		b = appendSeconds(b, t.TimeoutMs)
	}
	if t.Retry != nil {
		b = append(b, ',')
		b = appendKey(b, "retry")
		b = appendRetry(b, t.Retry)
	}
	if t.Reason != "" {
		b = append(b, `,"reason":`...)
		b = appendString(b, t.Reason)
	}
	return b
}

// appendResult writes the result of a task, {} unless it succeeded.
func appendResult(b []byte, t *fsm.Task) []byte {
	switch {
	case t.Status != fsm.Status_SUCCESS:
		return append(b, "{}"...)
	case len(t.Result) == 0:
		return append(b, "null"...)
	}
	return append(b, t.Result...)
}

// appendWhere writes the labels that a task asks for.
func appendWhere(b []byte, where string) []byte {
	b = append(b, '{')
	for i := 0; where != ""; i++ {
		var label string
		label, where, _ = strings.Cut(where, ",")
		key, value, _ := strings.Cut(label, "=")
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, key)
		b = append(b, ':')
		b = appendString(b, value)
	}
	return append(b, '}')
}

func appendRetry(b []byte, r *fsm.Retry) []byte {
	b = append(b, `{"max_attempts":`...)
	b = appendInt(b, int64(r.MaxAttempts))
	b = append(b, `,"initial":`...)
	b = appendSeconds(b, r.InitialMs)
	b = append(b, `,"factor":`...)
	b = strconv.AppendFloat(b, r.Factor, 'f', -1, 64)
	b = append(b, `,"max":`...)
	b = appendSeconds(b, r.MaxMs)
	b = append(b, `,"jitter":`...)
	b = strconv.AppendFloat(b, r.Jitter, 'f', -1, 64)
	return append(b, '}')
}

func (a *api) appendPast(b []byte, p *fsm.Past) []byte {
	b = append(b, `{"attempt":`...)
	b = appendInt(b, int64(p.Attempt))
	b = append(b, `,"node":`...)
	b = appendString(b, a.Tasks.NodeName(p.Node))
	b = appendMoment(b, "started_at", p.StartMs)
	b = appendMoment(b, "ended_at", p.EndMs)
	b = append(b, `,"reason":`...)
	b = appendString(b, p.Reason)
	b = append(b, `,"message":`...)
	b = appendString(b, p.Message)
	return append(b, '}')
}

// appendMoment writes a time that may not have come yet: 0 is left out.
func appendMoment(b []byte, key string, ms int64) []byte {
	if ms == 0 {
		return b
	}
	b = append(b, ',')
	b = appendKey(b, key)
	return appendTime(b, ms)
}
