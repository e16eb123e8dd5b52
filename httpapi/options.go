package httpapi

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// The limits of what a caller may ask for a task.
const (
	maxSpan     = 87_600 * time.Hour // ten years
	maxTags     = 16
	maxTagLen   = 64  // characters
	maxIDLen    = 128 // characters
	maxAttempts = 100
	maxFactor   = 1000
)

// What a retry object does not say.
const (
	defaultAttempts = 3
	defaultInitial  = time.Second
	defaultFactor   = 2
	defaultMax      = 5 * time.Minute
	defaultJitter   = 0.2
)

var null = []byte("null")

// faultList gathers what is wrong with the options of a task.
type faultList []taskpacks.Fault

func (l *faultList) add(param string, raw []byte, want string) {
	*l = append(*l, taskpacks.Fault{
		Param: param, Code: "option", Got: clipped(raw), Want: want,
		Message: "the option " + param + " must be " + want + ".",
	})
}

// clipped returns enough of a value to recognise it by.
func clipped(raw []byte) string {
	const most = 80
	if len(raw) <= most {
		return string(raw)
	}
	end := most
	for !utf8.RuneStart(raw[end]) {
		end--
	}
	return string(raw[:end]) + "..."
}

// options reads everything about a task but its type and args. null is as good
// as absent.
func (f *fields) options(n *fsm.New, spec *taskpacks.Spec) []taskpacks.Fault {
	var faults faultList
	n.TimeoutMs = spec.Timeout.Milliseconds()
	n.Priority = fsm.DefaultPriority
	if spec.MaxAttempts > 1 {
		n.Retry = newRetry(spec.MaxAttempts)
	}

	if given(f.priority) {
		if len(f.priority) == 1 && isDigit(f.priority[0]) {
			n.Priority = uint32(f.priority[0] - '0')
		} else {
			faults.add("priority", f.priority, "a whole number from 0 to 9")
		}
	}
	if given(f.delay) {
		n.DelayMs = faults.span("delay", f.delay, 0)
	}
	if given(f.eta) {
		n.EtaMs = faults.instant("eta", f.eta)
		if given(f.delay) {
			faults.add("eta", f.eta, "left out when delay is given")
		}
	}
	if given(f.timeout) {
		n.TimeoutMs = faults.span("timeout", f.timeout, time.Millisecond)
	}
	if given(f.retry) {
		n.Retry = faults.retry(f.retry, spec)
	}
	if given(f.id) {
		id, ok := textValue(f.id)
		if !ok || !validID(id) {
			faults.add("id", f.id, fmt.Sprintf("1 to %d characters of A-Z a-z 0-9 . _ : -", maxIDLen))
		}
		n.Name = id
	}
	if given(f.tagList) {
		n.Tags = faults.tags(f.tagList)
	}
	if given(f.place) {
		n.Where = faults.where(f.place)
	}
	if f.slip != nil && f.member(f.slip.meant) == nil { // else it is something of its own
		faults = append(faults, taskpacks.Fault{Param: string(f.slip.name), Code: "option", Want: f.slip.meant, Message: f.slip.String()})
	}
	return faults
}

func given(raw []byte) bool { return raw != nil && !bytes.Equal(raw, null) }

func newRetry(attempts int) *fsm.Retry {
	return &fsm.Retry{
		MaxAttempts: uint32(min(attempts, maxAttempts)), InitialMs: defaultInitial.Milliseconds(),
		Factor: defaultFactor, MaxMs: defaultMax.Milliseconds(), Jitter: defaultJitter,
	}
}

// span reads a length of time, in seconds or as a Go duration, and returns
// milliseconds.
func (l *faultList) span(param string, raw []byte, least time.Duration) int64 {
	text, quoted := textValue(raw)
	if !quoted {
		text = string(raw)
	}
	d, ok := parseSpan(text)
	if !ok || d < least || d > maxSpan {
		l.add(param, raw, fmt.Sprintf(`a time from %v to %dh, in seconds (1.5) or with a unit ("1.5s")`, least, maxSpan/time.Hour))
		return 0
	}
	return d.Round(time.Millisecond).Milliseconds()
}

// parseSpan reads seconds, "1.5", or a Go duration, "1.5s". Lengths of time are
// the only numbers of the API that pass through a float.
func parseSpan(text string) (time.Duration, bool) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		// Also keeps out NaN, which ParseFloat takes.
		if !(seconds >= 0 && seconds <= (2*maxSpan).Seconds()) {
			return 0, false
		}
		return time.Duration(seconds * float64(time.Second)), true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// instant reads a point in time, RFC 3339 or seconds since 1970, and returns
// milliseconds since 1970.
func (l *faultList) instant(param string, raw []byte) int64 {
	const lastMs = 253_402_300_799_000 // the end of the year 9999
	ms := int64(-1)
	if text, quoted := textValue(raw); quoted {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			ms = t.UnixMilli()
		}
	} else if seconds, err := strconv.ParseFloat(string(raw), 64); err == nil && seconds >= 0 && seconds <= lastMs/1000 {
		ms = int64(seconds*1000 + 0.5)
	}
	if ms < 0 || ms > lastMs {
		l.add(param, raw, `a time of the years 1970 to 9999, as "2030-01-02T15:04:05Z" or in seconds since 1970`)
		return 0
	}
	return max(ms, 1) // 0 would mean none
}

// retry reads the retry object.
func (l *faultList) retry(raw []byte, spec *taskpacks.Spec) *fsm.Retry {
	r := newRetry(defaultAttempts)
	if spec.MaxAttempts > 0 {
		r = newRetry(spec.MaxAttempts)
	}
	if raw[0] != '{' {
		l.add("retry", raw, `an object, such as {"max_attempts": 3}`)
		return r
	}
	maxGiven := false
	s := scanner{data: raw}
	s.open('{')
	for n := 0; s.more('}', n); n++ {
		key, value := string(s.key()), s.value()
		if !given(value) {
			continue
		}
		switch key {
		case "max_attempts":
			v, err := strconv.ParseUint(string(value), 10, 32)
			if err != nil || v < 1 || v > maxAttempts {
				l.add("retry.max_attempts", value, fmt.Sprintf("a whole number from 1 to %d", maxAttempts))
			}
			r.MaxAttempts = uint32(v)
		case "initial":
			r.InitialMs = l.span("retry.initial", value, 0)
		case "max":
			r.MaxMs = l.span("retry.max", value, 0)
			maxGiven = true
		case "factor":
			r.Factor = l.number("retry.factor", value, 1, maxFactor)
		case "jitter":
			r.Jitter = l.number("retry.jitter", value, 0, 1)
		default:
			l.add("retry."+clipped([]byte(key)), value, "left out: retry has max_attempts, initial, factor, max and jitter")
		}
	}
	if !maxGiven { // the default maximum must not undercut a longer first wait
		r.MaxMs = max(r.MaxMs, r.InitialMs)
	}
	return r
}

func (l *faultList) number(param string, raw []byte, least, most float64) float64 {
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || v < least || v > most {
		l.add(param, raw, fmt.Sprintf("a number from %v to %v", least, most))
	}
	return v
}

// tags reads the list of tags; one that is given twice counts once.
func (l *faultList) tags(raw []byte) []string {
	want := fmt.Sprintf("a list of at most %d texts of 1 to %d characters", maxTags, maxTagLen)
	if raw[0] != '[' {
		l.add("tags", raw, want)
		return nil
	}
	var tags []string
	s := scanner{data: raw}
	s.open('[')
	for n := 0; s.more(']', n); n++ {
		tag, ok := textValue(s.value())
		if !ok || tag == "" || utf8.RuneCountInString(tag) > maxTagLen || n >= maxTags {
			l.add("tags", raw, want)
			return nil
		}
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// where reads the labels that a task's node must have.
func (l *faultList) where(raw []byte) string {
	want := fmt.Sprintf(`an object of at most %d labels of nodes, such as {"zone": "eu"}: each is 1 to 63 characters of A-Z a-z 0-9 . _ / -`, fsm.MaxWhere)
	if raw[0] != '{' {
		l.add("where", raw, want)
		return ""
	}
	labels := map[string]string{}
	s := scanner{data: raw}
	s.open('{')
	for n := 0; s.more('}', n); n++ {
		key := string(s.key())
		value, ok := textValue(s.value())
		if labels[key] = value; !ok || !fsm.ValidLabel(key) || !fsm.ValidLabel(value) || len(labels) > fsm.MaxWhere {
			l.add("where", raw, want)
			return ""
		}
	}
	return fsm.WhereOf(labels)
}

func validID(id string) bool {
	if len(id) < 1 || len(id) > maxIDLen {
		return false
	}
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case isDigit(c), 'a' <= c|0x20 && c|0x20 <= 'z', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}
