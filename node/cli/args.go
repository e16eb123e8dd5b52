package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"

	"pytasks/taskpacks"
)

// parseArgs reads NAME=VALUE texts as JSON values of the declared parameters. A value that
// is declared but missing is left to the cluster, which knows the defaults.
func parseArgs(task string, declared map[string]*paramSchema, texts []string, stdin io.Reader) (map[string]json.RawMessage, error) {
	args := map[string]json.RawMessage{}
	fromStdin := ""
	for _, text := range texts {
		if text == "-" || strings.HasPrefix(text, "@") {
			if text == "-" && fromStdin != "" {
				return nil, usagef("-: standard input is read for %s already", fromStdin)
			}
			if text == "-" {
				fromStdin = "all of the args"
			}
			if err := readObject(task, declared, text, stdin, args); err != nil {
				return nil, err
			}
			continue
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("%q is not NAME=VALUE, as in x=1", text)
		}
		schema, known := declared[name]
		if !known {
			return nil, usagef("%s has no parameter %q; it has %s", task, name, parameterList(declared))
		}
		if _, twice := args[name]; twice {
			return nil, usagef("%s is given twice", name)
		}
		if value == "-" {
			if fromStdin != "" {
				return nil, usagef("%s=-: standard input is read for %s already", name, fromStdin)
			}
			fromStdin = name
		}
		value, err := fetchValue(value, stdin)
		if err != nil {
			return nil, usagef("%s: %w", text, err)
		}
		if args[name], err = parseValue(schema, value); err != nil {
			return nil, usagef("%s of %s %w", name, task, err)
		}
	}
	return args, nil
}

// readObject reads a JSON object of args from a file, @FILE, or standard input, -, into args. Its values are left as they are.
func readObject(task string, declared map[string]*paramSchema, from string, stdin io.Reader, args map[string]json.RawMessage) error {
	text, err := fetchValue(from, stdin)
	if err != nil {
		return usagef("%s: %w", from, err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil || object == nil {
		return usagef(`%s: %s is not a JSON object of args, as in {"x": 1}`, from, abbreviate(text))
	}
	for name, value := range object {
		if declared[name] == nil {
			return usagef("%s: %s has no parameter %q; it has %s", from, task, name, parameterList(declared))
		}
		if _, twice := args[name]; twice {
			return usagef("%s is given twice", name)
		}
		args[name] = value
	}
	return nil
}

// fetchValue resolves @FILE, @@TEXT and -. The last line break of a file is no part of
// the value.
func fetchValue(value string, stdin io.Reader) (string, error) {
	var text []byte
	var err error
	switch {
	case value == "-":
		text, err = io.ReadAll(stdin)
	case strings.HasPrefix(value, "@@"):
		return value[1:], nil
	case strings.HasPrefix(value, "@"):
		text, err = os.ReadFile(value[1:])
	default:
		return value, nil
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), err
}

// paramSchema is the JSON Schema of a parameter, as far as a text is read by it. One that
// says nothing takes any value.
type paramSchema struct {
	Type   string            `json:"type"`
	Format string            `json:"format"`
	Enum   []json.RawMessage `json:"enum"`
	AnyOf  []*paramSchema    `json:"anyOf"`

	Items      *paramSchema            `json:"items"`
	Properties map[string]*paramSchema `json:"properties"`
	Required   []string                `json:"required"`
}

// paramsOf returns the parameters that the JSON Schema of a task's args declares, by name.
func paramsOf(args json.RawMessage) (map[string]*paramSchema, error) {
	var s paramSchema
	if err := json.Unmarshal(args, &s); err != nil {
		return nil, fmt.Errorf("read the parameters of a task: %w", err)
	}
	return s.Properties, nil
}

// parseValue reads a text as a JSON value that fits a schema. Numbers keep every digit.
func parseValue(s *paramSchema, text string) (json.RawMessage, error) {
	members := s.members()
	for _, m := range members {
		if raw, ok := m.parse(text); ok {
			return raw, nil
		}
	}
	var phrases []string
	for _, m := range members {
		phrases = append(phrases, m.phrase())
	}
	return nil, fmt.Errorf("is %s, and %s does not read as one", strings.Join(phrases, " or "), abbreviate(text))
}

// members are the schemas of which a value fits one, in the order in which they are tried: a
// text comes last, because everything reads as one.
func (s *paramSchema) members() []*paramSchema {
	if len(s.AnyOf) == 0 {
		return []*paramSchema{s}
	}
	var all []*paramSchema
	for _, m := range s.AnyOf {
		all = append(all, m.members()...)
	}
	slices.SortStableFunc(all, func(a, b *paramSchema) int { return a.rank() - b.rank() })
	return all
}

func (s *paramSchema) rank() int {
	if s.Type == "string" && s.Format == "" {
		return 2
	}
	if s.Type == "" && s.Enum == nil {
		return 1
	}
	return 0
}

func (s *paramSchema) parse(text string) (json.RawMessage, bool) {
	trimmed := strings.TrimSpace(text)
	if s.Enum != nil {
		return parseEnum(s.Enum, text)
	}
	switch s.Type {
	case "null":
		return json.RawMessage("null"), trimmed == "null"
	case "boolean":
		return json.RawMessage(trimmed), trimmed == "true" || trimmed == "false"
	case "integer":
		n, ok := new(big.Int).SetString(trimmed, 10)
		if !ok {
			return nil, false
		}
		return json.RawMessage(n.String()), true
	case "number":
		return parseFloat(trimmed)
	case "array":
		return json.RawMessage(trimmed), strings.HasPrefix(trimmed, "[") && json.Valid([]byte(trimmed))
	case "object":
		return json.RawMessage(trimmed), strings.HasPrefix(trimmed, "{") && json.Valid([]byte(trimmed))
	case "string":
		raw, err := parseText(text)
		return raw, err == nil && (s.Format != "date-time" || isDatetime(raw))
	}
	if json.Valid([]byte(trimmed)) {
		return json.RawMessage(trimmed), true
	}
	raw, err := parseText(text)
	return raw, err == nil
}

// parseEnum returns the value that a text means: as JSON, else as a text without quotes.
func parseEnum(values []json.RawMessage, text string) (json.RawMessage, bool) {
	for _, v := range values {
		if string(v) == strings.TrimSpace(text) {
			return v, true
		}
	}
	for _, v := range values {
		var word string
		if v[0] == '"' && json.Unmarshal(v, &word) == nil && word == text {
			return v, true
		}
	}
	return nil, false
}

// parseText takes a JSON string as it is, and quotes any other text.
func parseText(text string) (json.RawMessage, error) {
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, `"`) && json.Valid([]byte(trimmed)) {
		return json.RawMessage(trimmed), nil
	}
	return json.Marshal(text)
}

// isDatetime asks the cluster's own judge, who takes less than time.Parse in one place and
// more in another.
func isDatetime(value json.RawMessage) bool {
	s := taskpacks.Spec{Params: []taskpacks.Param{{Name: "at", Type: taskpacks.Type{Kind: taskpacks.KindDatetime}}}}
	return s.Check(slices.Concat([]byte(`{"at":`), value, []byte("}"))) == nil
}

// parseFloat keeps a number as it is written where JSON can, so that no digit is lost,
// and writes .5 or +1 in JSON's way.
func parseFloat(text string) (json.RawMessage, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, false
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), true
	}
	raw, err := json.Marshal(f) // refuses inf and nan
	return raw, err == nil
}

// phrase says in words what fits, with an example of how to write it.
func (s *paramSchema) phrase() string {
	switch {
	case s.Enum != nil:
		var values []string
		for _, v := range s.Enum {
			values = append(values, string(v))
		}
		return "one of " + strings.Join(values, ", ")
	case s.Format == "date-time":
		return "a datetime (such as 2006-01-02T15:04:05Z)"
	}
	like := s.example(0)
	switch s.Type {
	case "null":
		return like
	case "boolean":
		return "a bool (true or false)"
	case "integer":
		return "an int (such as " + like + ")"
	case "number":
		return "a float (such as " + like + ")"
	case "array":
		return "a list (JSON such as " + like + ")"
	case "object":
		return "a dict (JSON such as " + like + ")"
	}
	return "a text"
}

// example is a value that fits, as JSON.
func (s *paramSchema) example(depth int) string {
	switch {
	case len(s.Enum) > 0:
		return string(s.Enum[0])
	case len(s.AnyOf) > 0:
		return s.AnyOf[0].example(depth)
	case s.Format == "date-time":
		return `"2006-01-02T15:04:05Z"`
	}
	switch s.Type {
	case "null":
		return "null"
	case "boolean":
		return "true"
	case "integer":
		return "3"
	case "number":
		return "1.5"
	case "array":
		if s.Items == nil || depth > 3 {
			return "[1, 2]"
		}
		return "[" + s.Items.example(depth+1) + "]"
	case "object":
		if s.Properties == nil || depth > 3 {
			return `{"a": 1}`
		}
		var fields []string
		for _, name := range s.Required {
			if field := s.Properties[name]; field != nil {
				fields = append(fields, strconv.Quote(name)+": "+field.example(depth+1))
			}
		}
		return "{" + strings.Join(fields, ", ") + "}"
	}
	return `"text"`
}

// parameterList names parameters for a message.
func parameterList(declared map[string]*paramSchema) string {
	var names []string
	for name := range declared {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// abbreviate quotes the beginning of a text.
func abbreviate(text string) string {
	if len(text) > 40 {
		return strconv.Quote(text[:37] + "...")
	}
	return strconv.Quote(text)
}
