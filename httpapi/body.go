package httpapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// firstRead is how much memory is taken for a body before any of it has come,
// in bytes: a promised Content-Length costs its sender nothing.
const firstRead = 64 << 10

// object reads the request's body, a JSON object, and calls member for each of
// its keys; member consumes the value. It returns the body as it was sent.
// field and need are what a 400 says is missing when there is no object to be
// read. When ok is false the request has been answered.
func (c *call) object(field, need string, member func(s *scanner, key []byte)) (raw []byte, ok bool) {
	raw, p := c.body()
	if p != nil {
		c.refuse(p)
		return nil, false
	}
	if reason := c.scan(raw, member); reason != nil {
		c.refuse(unreadable(field, need, reason))
		return nil, false
	}
	return raw, true
}

// unreadable is the refusal of a body that cannot be read, or not as JSON.
func unreadable(field, need string, reason error) *problem {
	p := missing(field, need)
	p.detail = reason.Error()
	switch e := reason.(type) {
	case *contentTypeError:
		p.text += ". The reason is the content type: " + p.detail
	case *scanError:
		if e.deep {
			p.field, p.text = "args", fmt.Sprintf("%s nested at most %d levels deep", needArgs, maxDepth)
		}
		p.detail = "the body is not a JSON object: " + p.detail
	}
	return p
}

// missing is the refusal of a body without a required field.
func missing(field, need string) *problem {
	return invalid(field, need+" Missing required parameter in the JSON body")
}

// invalid is the refusal of a body whose field cannot be used.
func invalid(field, text string) *problem {
	return &problem{
		status: http.StatusBadRequest, code: codeBadRequest,
		message: "Input payload validation failed", field: field, text: text,
	}
}

// body reads the body, up to the limit.
func (c *call) body() ([]byte, *problem) {
	limit, length := c.api.MaxBody, c.r.ContentLength
	if c.most > 0 {
		limit = min(limit, c.most)
	}
	if length > limit {
		return nil, tooLarge(limit)
	}
	size := int64(firstRead)
	if length >= 0 {
		size = min(size, length+1) // one more, to see the end without growing
	} else {
		size = 512
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) && len(buf) >= firstRead && c.large == 0 {
			if p := c.reserve(limit); p != nil {
				return nil, p
			}
			if length > 0 {
				buf = slices.Grow(buf, int(length)+1-len(buf))
			}
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := c.r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, tooLarge(limit)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, &problem{status: http.StatusBadRequest, code: codeBadRequest, message: "the body ended too early"}
		}
	}
}

// reserve takes the room of a large body, of limit bytes at most, once its first part has come.
func (c *call) reserve(limit int64) *problem {
	size := c.r.ContentLength
	if size < 0 {
		size = limit
	}
	return c.hold(size)
}

// hold takes the room of so many bytes that will be in memory until the task is queued.
func (c *call) hold(size int64) *problem {
	ctx, cancel := c.bounded()
	defer cancel()
	if c.api.large.Acquire(ctx, size) != nil {
		c.w.Header()["Retry-After"] = []string{"1"}
		return &problem{
			status: http.StatusServiceUnavailable, code: codeBusy,
			message: "this node has too many large requests in hand: nothing was queued; send it again, or in smaller parts",
		}
	}
	c.large = size
	return nil
}

func tooLarge(limit int64) *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, code: codeTooLarge,
		message: fmt.Sprintf("the body is larger than %d bytes, the limit here", limit),
	}
}

// text returns a body of JSON as UTF-8.
func (c *call) text(raw []byte) ([]byte, error) {
	if err := checkContentType(c.r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	return decodeText(raw)
}

// scan goes through a body and returns why it is no JSON object.
func (c *call) scan(raw []byte, member func(s *scanner, key []byte)) error {
	data, err := c.text(raw)
	if err != nil {
		return err
	}
	s := scanner{data: data}
	s.open('{')
	for n := 0; s.more('}', n); n++ {
		member(&s, s.key())
	}
	s.end()
	if s.err != nil {
		return s.err
	}
	return nil
}

// contentTypeError says that a body was not looked at.
type contentTypeError struct{ got string }

func (e *contentTypeError) Error() string {
	if e.got == "" {
		return "the request has no Content-Type header: send application/json"
	}
	return fmt.Sprintf("the Content-Type header is %q: send application/json", e.got)
}

// checkContentType takes application/json and what ends in +json, in any case
// and with any parameter.
func checkContentType(v string) error {
	if v == "application/json" {
		return nil
	}
	t, _, err := mime.ParseMediaType(v)
	if err != nil { // a bad parameter does not matter here
		t, _, _ = strings.Cut(v, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	if t == "application/json" || strings.HasSuffix(t, "+json") {
		return nil
	}
	return &contentTypeError{got: v}
}

// decodeText returns a body as UTF-8. Others than UTF-8 are told by their
// byte-order mark, or by the zero byte of their first character, which is ASCII
// in all JSON.
func decodeText(raw []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(raw, []byte{0xEF, 0xBB, 0xBF}):
		raw = raw[3:]
	case bytes.HasPrefix(raw, []byte{0xFE, 0xFF}):
		return decodeUTF16(binary.BigEndian, raw[2:])
	case bytes.HasPrefix(raw, []byte{0xFF, 0xFE}):
		return decodeUTF16(binary.LittleEndian, raw[2:])
	case len(raw) >= 2 && raw[0] == 0:
		return decodeUTF16(binary.BigEndian, raw)
	case len(raw) >= 2 && raw[1] == 0:
		return decodeUTF16(binary.LittleEndian, raw)
	}
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("the body is not valid UTF-8")
	}
	return raw, nil
}

func decodeUTF16(order binary.ByteOrder, raw []byte) ([]byte, error) {
	if len(raw)%2 != 0 {
		return nil, fmt.Errorf("the body is UTF-16 of an odd number of bytes")
	}
	text := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i += 2 {
		r := rune(order.Uint16(raw[i:]))
		if utf16.IsSurrogate(r) {
			if i += 2; i == len(raw) {
				return nil, fmt.Errorf("the body is not valid UTF-16")
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(raw[i:]))); r == utf8.RuneError {
				return nil, fmt.Errorf("the body is not valid UTF-16")
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text, nil
}
