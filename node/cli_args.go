package node

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
)

// parseArgs reads NAME=VALUE texts as JSON values of the declared types. A value that
// is declared but missing is left to the cluster, which knows the defaults.
func parseArgs(task string, declared map[string]string, texts []string, stdin io.Reader) (map[string]json.RawMessage, error) {
	args := map[string]json.RawMessage{}
	fromStdin := ""
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("%q is not NAME=VALUE, as in x=1", text)
		}
		kind, known := declared[name]
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
		if args[name], err = parseValue(kind, value); err != nil {
			return nil, usagef("%s of %s %w", name, task, err)
		}
	}
	return args, nil
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

// parseValue reads a text as a JSON value of a type that is written as in GET /tasks:
// <class 'int'>, list[int], typing.Optional[str], int | None. Numbers keep every digit.
func parseValue(kind, text string) (json.RawMessage, error) {
	kinds := alternatives(kind)
	for _, k := range kinds {
		if raw, ok := parseKind(k, text); ok {
			return raw, nil
		}
	}
	if len(kinds) == 1 {
		return nil, fmt.Errorf("is %s, and %s does not read as one", kindPhrase(kinds[0]), abbreviate(text))
	}
	return nil, fmt.Errorf("is one of %s, and %s does not read as any", strings.Join(kinds, ", "), abbreviate(text))
}

// alternatives splits a type into plain kinds: int, float, bool, str, list, dict, None,
// any. A text comes last, because everything reads as one.
func alternatives(kind string) []string {
	kind = strings.TrimSuffix(strings.TrimPrefix(kind, "<class '"), "'>")
	kind = strings.ReplaceAll(kind, "typing.", "")
	if inner, ok := strings.CutPrefix(kind, "Optional["); ok {
		return append([]string{"None"}, alternatives(strings.TrimSuffix(inner, "]"))...)
	}
	if inner, ok := strings.CutPrefix(kind, "Union["); ok {
		kind = strings.TrimSuffix(inner, "]")
	}
	var kinds []string
	for _, part := range splitOutside(kind) {
		part, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(part)), "[")
		switch part {
		case "none", "nonetype":
			part = "None"
		case "int", "float", "bool", "str", "list", "dict":
		default:
			part = "any"
		}
		kinds = append(kinds, part)
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return kindRank(a) - kindRank(b) })
	return kinds
}

// kindRank is the order in which kinds are tried.
func kindRank(kind string) int {
	return slices.Index([]string{"None", "bool", "int", "float", "list", "dict", "any", "str"}, kind)
}

// splitOutside splits at | and , that stand outside brackets.
func splitOutside(text string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range text {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case (r == '|' || r == ',') && depth == 0:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

func parseKind(kind, text string) (json.RawMessage, bool) {
	trimmed := strings.TrimSpace(text)
	switch kind {
	case "None":
		return json.RawMessage("null"), trimmed == "null"
	case "bool":
		return json.RawMessage(trimmed), trimmed == "true" || trimmed == "false"
	case "int":
		n, ok := new(big.Int).SetString(trimmed, 10)
		if !ok {
			return nil, false
		}
		return json.RawMessage(n.String()), true
	case "float":
		return parseFloat(trimmed)
	case "list":
		return json.RawMessage(trimmed), strings.HasPrefix(trimmed, "[") && json.Valid([]byte(trimmed))
	case "dict":
		return json.RawMessage(trimmed), strings.HasPrefix(trimmed, "{") && json.Valid([]byte(trimmed))
	case "any":
		if json.Valid([]byte(trimmed)) {
			return json.RawMessage(trimmed), true
		}
	case "str":
		if strings.HasPrefix(trimmed, `"`) && json.Valid([]byte(trimmed)) {
			return json.RawMessage(trimmed), true
		}
	}
	raw, err := json.Marshal(text)
	return raw, err == nil
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

// kindPhrase is a kind with an example of how to write it.
func kindPhrase(kind string) string {
	switch kind {
	case "None":
		return "null"
	case "bool":
		return "a bool (true or false)"
	case "int":
		return "an int (such as 3)"
	case "float":
		return "a float (such as 1.5)"
	case "list":
		return "a list (JSON such as [1, 2])"
	case "dict":
		return `a dict (JSON such as {"a": 1})`
	}
	return "a " + kind
}

// parameterList names parameters for a message.
func parameterList(declared map[string]string) string {
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
