package taskpacks

import "encoding/json"

// Depth returns how deeply arrays and objects nest in the JSON text raw: 0 for a bare value, 1 for [1]. It does not recurse,
// looks at brackets outside strings only, and needs no valid JSON.
func Depth(raw []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = skipString(raw, i) - 1
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	return deepest
}

// members walks the members of a JSON object. On text that is no JSON it ends early, and always ends.
type members struct {
	raw []byte
	pos int // of the next member, or of the comma before it
}

// membersOf returns a walk over raw; ok says whether raw begins like an object.
func membersOf(raw []byte) (m members, ok bool) {
	start := skipSpace(raw, 0)
	if start == len(raw) || raw[start] != '{' {
		return members{}, false
	}
	return members{raw: raw, pos: start + 1}, true
}

// next returns the next member: its key between the quotes, with escapes as written, and where its value stands.
func (m *members) next() (key []byte, value span, ok bool) {
	i := skipComma(m.raw, m.pos)
	if i == len(m.raw) || m.raw[i] != '"' {
		return nil, span{}, false
	}
	end := skipString(m.raw, i)
	colon := skipSpace(m.raw, end)
	if colon == len(m.raw) || m.raw[colon] != ':' {
		return nil, span{}, false
	}
	value.start = skipSpace(m.raw, colon+1)
	value.end = skipValue(m.raw, value.start)
	m.pos = value.end
	return m.raw[i+1 : end-1], value, value.end > value.start
}

// elements walks the elements of a JSON array, as members does those of an object.
type elements struct {
	raw []byte
	pos int
}

// elementsOf returns a walk over raw, which begins with '['.
func elementsOf(raw []byte) elements { return elements{raw: raw, pos: 1} }

func (e *elements) next() (value []byte, ok bool) {
	start := skipComma(e.raw, e.pos)
	e.pos = skipValue(e.raw, start)
	return e.raw[start:e.pos], e.pos > start
}

// span is a part of a JSON text. The zero span means absent: no value inside an object begins at 0.
type span struct{ start, end int }

func (s span) of(raw []byte) []byte { return raw[s.start:s.end] }

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

func skipComma(raw []byte, i int) int {
	i = skipSpace(raw, i)
	if i < len(raw) && raw[i] == ',' {
		i = skipSpace(raw, i+1)
	}
	return i
}

// skipString returns the index after the string that begins at i, or the end of a text that does not close it.
func skipString(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(raw)
}

// skipValue returns the index after the value that begins at i; i itself where none begins. Brackets are counted, not
// matched by kind: in valid JSON that is the same.
func skipValue(raw []byte, i int) int {
	if i == len(raw) {
		return i
	}
	switch raw[i] {
	case '"':
		return skipString(raw, i)
	case '{', '[':
		return skipNested(raw, i)
	}
	for ; i < len(raw); i++ {
		switch raw[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
	}
	return i
}

func skipNested(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i = skipString(raw, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
	return i
}

// plain reports whether s, the inside of a JSON string, stands for itself: no escapes, ASCII only.
func plain(s []byte) bool {
	for _, c := range s {
		if c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}

// unescape returns the text of s, the inside of a JSON string. What is no JSON is returned as it stands.
func unescape(s []byte) string {
	if plain(s) {
		return string(s)
	}
	quoted := make([]byte, 0, len(s)+2)
	quoted = append(append(append(quoted, '"'), s...), '"')
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return string(s)
	}
	return text
}
