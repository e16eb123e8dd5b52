package httpapi

import (
	"encoding/json"
	"fmt"
)

// maxDepth is how deeply the value of one field of a body may nest.
const maxDepth = 100

// scanner goes through a JSON text once, from left to right, and checks it
// strictly (RFC 8259) on the way. After the first fault it stands still, and
// every method returns nothing; look at err at the end. UTF-8 is checked by the
// caller.
type scanner struct {
	data []byte
	at   int
	err  *scanError
}

// scanError is why a text is no JSON that is taken here.
type scanError struct {
	at   int // offset in bytes
	deep bool
	what string
}

func (e *scanError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.at) }

func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = &scanError{at: s.at, what: what}
	}
}

// peek returns the next byte that is no space, 0 at the end and after a fault.
func (s *scanner) peek() byte {
	if s.err != nil {
		return 0
	}
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

// open consumes the bracket that begins an object or an array.
func (s *scanner) open(bracket byte) {
	if s.peek() != bracket {
		s.fail("expected " + string(rune(bracket)))
		return
	}
	s.at++
}

// more reports whether another element follows, after n of them, and consumes
// the comma or the closing bracket:
//
//	s.open('[')
//	for n := 0; s.more(']', n); n++ {
//		s.value()
//	}
func (s *scanner) more(bracket byte, n int) bool {
	switch c := s.peek(); {
	case s.err != nil:
		return false
	case c == bracket:
		s.at++
		return false
	case n == 0:
		return true
	case c != ',':
		s.fail("expected , or " + string(rune(bracket)))
		return false
	}
	s.at++
	return true
}

// key consumes a key and its colon and returns the key's text, nil after a fault.
func (s *scanner) key() []byte {
	s.peek()
	start := s.at
	s.str()
	if s.err != nil {
		return nil
	}
	raw := s.data[start:s.at]
	if s.peek() != ':' {
		s.fail("expected :")
		return nil
	}
	s.at++
	for _, c := range raw {
		if c == '\\' {
			text, _ := textValue(raw)
			return []byte(text)
		}
	}
	return raw[1 : len(raw)-1]
}

// value consumes a value and returns it as it was sent, nil after a fault.
func (s *scanner) value() []byte {
	s.peek()
	start := s.at
	s.skip(maxDepth)
	if s.err != nil {
		return nil
	}
	return s.data[start:s.at]
}

// end checks that nothing follows.
func (s *scanner) end() {
	s.peek()
	if s.err == nil && s.at < len(s.data) {
		s.fail("expected nothing more")
	}
}

// skip consumes a value that nests depth levels at most.
func (s *scanner) skip(depth int) {
	c := s.peek()
	if (c == '{' || c == '[') && depth == 0 {
		s.fail(fmt.Sprintf("nested deeper than %d levels", maxDepth))
		s.err.deep = true
		return
	}
	switch {
	case c == '{':
		s.open('{')
		for n := 0; s.more('}', n); n++ {
			s.peek()
			s.str()
			if s.peek() != ':' {
				s.fail("expected :")
				return
			}
			s.at++
			s.skip(depth - 1)
		}
	case c == '[':
		s.open('[')
		for n := 0; s.more(']', n); n++ {
			s.skip(depth - 1)
		}
	case c == '"':
		s.str()
	case c == '-' || isDigit(c):
		s.number()
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == 'n':
		s.word("null")
	default:
		s.fail("expected a JSON value")
	}
}

// str consumes a string.
func (s *scanner) str() {
	if s.err != nil {
		return
	}
	if s.next() != '"' {
		s.fail("expected a string")
		return
	}
	data := s.data
	for i := s.at + 1; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			s.at = i + 1
			return
		case c == '\\':
			i++
			n := escapeLen(data[i:])
			if n == 0 {
				s.at = i
				s.fail("bad escape in a string")
				return
			}
			i += n - 1
		case c < 0x20:
			s.at = i
			s.fail("control character in a string")
			return
		}
	}
	s.at = len(data)
	s.fail("string without an end")
}

// escapeLen returns the length of the escape that b begins with, after the
// backslash; 0 if there is none.
func escapeLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) >= 5 && isHex(b[1]) && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) {
			return 5
		}
	}
	return 0
}

// number consumes a number: no leading zeros, no bare point.
func (s *scanner) number() {
	if s.next() == '-' {
		s.at++
	}
	if s.next() == '0' {
		s.at++
	} else {
		s.digits()
	}
	if s.next() == '.' {
		s.at++
		s.digits()
	}
	if c := s.next(); c == 'e' || c == 'E' {
		s.at++
		if c := s.next(); c == '+' || c == '-' {
			s.at++
		}
		s.digits()
	}
}

// digits consumes one digit or more.
func (s *scanner) digits() {
	start := s.at
	for isDigit(s.next()) {
		s.at++
	}
	if s.at == start {
		s.fail("expected a digit")
	}
}

func (s *scanner) word(w string) {
	if len(s.data)-s.at < len(w) || string(s.data[s.at:s.at+len(w)]) != w {
		s.fail("expected a JSON value")
		return
	}
	s.at += len(w)
}

// next returns the next byte, a space too, 0 at the end.
func (s *scanner) next() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// textValue returns the text of a JSON string; ok is false for other values.
func textValue(raw []byte) (text string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	for _, c := range raw {
		if c == '\\' {
			err := json.Unmarshal(raw, &text)
			return text, err == nil
		}
	}
	return string(raw[1 : len(raw)-1]), true
}

// className names the class that a JSON value has in Python, as the messages of
// the API do.
func className(raw []byte) string {
	switch raw[0] {
	case '"':
		return "str"
	case '{':
		return "dict"
	case '[':
		return "list"
	case 't', 'f':
		return "bool"
	case 'n':
		return "NoneType"
	}
	for _, c := range raw {
		if c == '.' || c == 'e' || c == 'E' {
			return "float"
		}
	}
	return "int"
}
