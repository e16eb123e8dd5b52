package process

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"pytasks/taskpacks"
)

const (
	// frameSlack is what a frame may have beyond the longest result, in bytes.
	frameSlack = 64 << 10
	// maxText bounds the message and the traceback of an error, in bytes each: they are stored with the task on every node.
	maxText = 8 << 10
)

// Request is one call of a func, as a worker gets it.
type Request struct {
	ID      string
	Attempt int
	Node    string
	Task    string          // the func's full name
	Args    json.RawMessage // a JSON object; empty = {}
}

// frame returns the request as it is sent, with the path of the call's folder.
func (r *Request) frame(dir string) []byte {
	b := make([]byte, 4, 4+len(r.ID)+len(r.Node)+len(r.Task)+len(dir)+len(r.Args)+96)
	b = appendString(append(b, `{"id":`...), r.ID)
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(r.Attempt), 10)
	b = appendString(append(b, `,"node":`...), r.Node)
	b = appendString(append(b, `,"task":`...), r.Task)
	b = appendString(append(b, `,"dir":`...), dir)
	b = append(b, `,"args":`...)
	if len(r.Args) == 0 {
		b = append(b, `{}`...)
	}
	b = append(append(b, r.Args...), '}')
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			text, _ := json.Marshal(s) // of a string: no error
			return append(b, text...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// answer is one frame of a worker.
type answer struct {
	Ready    bool            `json:"ready"`
	Fatal    *failure        `json:"fatal"`
	Progress []any           `json:"progress"` // fraction, text
	Result   json.RawMessage `json:"result"`
	Error    *failure        `json:"error"`
}

// failure is what a worker says of an exception.
type failure struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
	Permanent bool   `json:"permanent"`
}

// failed returns a failure as an error of the func.
func (h *Host) failed(f *failure) error {
	if f.Type == "MemoryError" && h.cfg.MaxMemory > 0 { // Python's, of an allocation beyond the limit
		return h.memoryError(f.Traceback)
	}
	err := error(&taskpacks.Error{
		Reason: taskpacks.ReasonError, Type: head(f.Type), Message: head(f.Message), Traceback: end(f.Traceback),
	})
	if f.Permanent {
		return taskpacks.Permanent(err)
	}
	return err
}

// errFrame is the error of an answer that does not keep to the protocol.
var errFrame = errors.New("the answer on file descriptor 4 is no frame")

// readAnswer reads the next frame. The error is io.EOF, or one for the task's owner if what came is no frame.
func readAnswer(r *bufio.Reader, maxResult int64) (a answer, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return a, io.EOF // also in the middle of a frame: the worker died
	}
	n := int64(binary.BigEndian.Uint32(length[:]))
	if n > maxResult+frameSlack {
		return a, tooLarge(n, maxResult)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return a, io.EOF
	}
	if result, ok := bytes.CutPrefix(text, []byte(`{"result":`)); ok && len(result) > 0 {
		// Most frames, and the long ones: read once.
		if result = bytes.TrimSpace(result[:len(result)-1]); text[n-1] == '}' && json.Valid(result) {
			a.Result = result
		}
	}
	if a.Result == nil {
		if err := json.Unmarshal(text, &a); err != nil {
			return a, badFrame("%w: %w", errFrame, err)
		}
	}
	if int64(len(a.Result)) > maxResult {
		return a, tooLarge(int64(len(a.Result)), maxResult)
	}
	if !utf8.Valid(a.Result) {
		return a, badFrame("the result is not UTF-8: encode bytes as text, base64 for example")
	}
	return a, nil
}

func badFrame(format string, args ...any) error {
	return taskpacks.Permanent(&taskpacks.Error{
		Reason: taskpacks.ReasonError, Type: "ProtocolError", Message: head(fmt.Errorf(format, args...).Error()),
	})
}

func tooLarge(n, limit int64) error {
	return taskpacks.Permanent(&taskpacks.Error{
		Reason: taskpacks.ReasonError, Type: "ResultTooLarge",
		Message: fmt.Sprintf("the result has %d bytes and may have %d: return less, or write it to a store and return where it is",
			n, limit),
	})
}

// head returns the beginning of a text, whole characters.
func head(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// end returns the end of a text, whole characters.
func end(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := len(text) - maxText
	for n < len(text) && !utf8.RuneStart(text[n]) {
		n++
	}
	return text[n:]
}
