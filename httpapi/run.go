package httpapi

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// runPattern is the route of every type of task.
const runPattern = "/run/:type"

// runOptions are the names that the query of POST /run/:type may have. tag and where may come more than once.
var runOptions = []string{"wait", "priority", "delay", "eta", "timeout", "id", "tag", "where", "max_attempts"}

// run is POST /run/:type: POST /task in another form, for clients that have a function for each type of task. The body is the args
// alone, the options are parameters.
func (c *call) run() {
	raw, p := c.body()
	if p != nil {
		c.refuse(p)
		return
	}
	args, err := c.arguments(raw)
	if err != nil {
		c.refuse(unreadable("args", needArgs, err))
		return
	}
	q := c.query()
	f, bad := optionsOf(q)
	if bad != "" {
		c.badQuery(bad)
		return
	}
	wait, err := parseWait(q)
	if err != nil {
		c.badQuery(err.Error())
		return
	}
	f.typ, f.args = quoted(c.params.ByName("type")), args
	delete(q, "wait") // does not change what is queued
	c.submitOne(&f, wait, raw, []byte("\n?"+q.Encode()))
}

// arguments returns the body's one value, or why it cannot be read. That it is an object is for check to say.
func (c *call) arguments(raw []byte) ([]byte, error) {
	data, err := c.text(raw)
	if err != nil {
		return nil, err
	}
	s := scanner{data: data}
	args := s.value()
	s.end()
	if s.err != nil {
		return nil, s.err
	}
	return args, nil
}

// optionsOf reads the options of a task from a query, as if a body had them, or says what is wrong with it.
func optionsOf(q url.Values) (f fields, bad string) {
	for name, values := range q {
		switch {
		case !slices.Contains(runOptions, name):
			return f, "there is no parameter " + name + ": there are " + strings.Join(runOptions, ", ") + "; POST /task takes every option"
		case len(values) > 1 && name != "tag" && name != "where":
			return f, "the parameter " + name + " is given twice"
		}
	}
	for name, value := range map[string]*[]byte{"priority": &f.priority, "delay": &f.delay, "eta": &f.eta, "timeout": &f.timeout} {
		if text := q.Get(name); text != "" {
			*value = numberOrText(text)
		}
	}
	if id := q.Get("id"); id != "" {
		f.id = quoted(id)
	}
	if text := q.Get("max_attempts"); text != "" {
		f.retry = slices.Concat([]byte(`{"max_attempts":`), numberOrText(text), []byte("}"))
	}
	if tags := q["tag"]; tags != nil {
		f.tagList = appendStrings(nil, tags)
	}
	if labels := q["where"]; labels != nil {
		f.place = placeOf(labels)
	}
	return f, ""
}

// placeOf returns labels, each KEY=VALUE, as a body has them; what is none is left as it is, for the check to name.
func placeOf(labels []string) []byte {
	b := []byte("{")
	for i, label := range labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			return quoted(label)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, key)
		b = append(b, ':')
		b = appendString(b, value)
	}
	return append(b, '}')
}

// numberOrText returns a parameter's text as JSON: a number if it is one, else a string.
func numberOrText(text string) []byte {
	if json.Valid([]byte(text)) && (text[0] == '-' || isDigit(text[0])) {
		return []byte(text)
	}
	return quoted(text)
}

func quoted(text string) []byte { return appendString(nil, text) }
