package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/sys"

	"pytasks/taskpacks"
)

const (
	// tryAgain is the exit status of an error that another try may mend: EX_TEMPFAIL of sysexits.h.
	tryAgain = 75
	// keepStderr is how much of the end of what a module printed goes into its error, in bytes.
	keepStderr = 4 << 10
	// maxLine bounds what a message shows of a module's output, in bytes.
	maxLine = 400
)

// stdout takes what a module prints as its result.
type stdout struct {
	kept  []byte
	limit int64
	stop  func(error) // ends the call
}

// Write implements io.Writer. A module that prints more than a result may have is stopped.
func (o *stdout) Write(p []byte) (int, error) {
	if int64(len(o.kept)+len(p)) > o.limit {
		err := tooLarge(o.limit)
		o.stop(err)
		return 0, err
	}
	o.kept = append(o.kept, p...)
	return len(p), nil
}

func tooLarge(limit int64) error {
	return taskpacks.Permanent(&taskpacks.Error{
		Reason: taskpacks.ReasonError, Type: "ResultTooLarge",
		Message: fmt.Sprintf("the result is longer than the %d bytes that it may have: return less", limit),
	})
}

// tail takes what a module prints for people: into the task's log, and its end for the error.
type tail struct {
	log  io.Writer
	kept []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	_, _ = t.log.Write(p) // a log that is full is no reason to fail
	t.kept = append(t.kept, p[max(0, len(p)-keepStderr):]...)
	if extra := len(t.kept) - keepStderr; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

// text returns the kept end, whole characters.
func (t *tail) text() string {
	end := t.kept
	for len(end) > 0 && !utf8.RuneStart(end[0]) {
		end = end[1:]
	}
	return strings.ToValidUTF8(string(end), "\ufffd")
}

// lastLine returns the last line that is not blank, shortened.
func (t *tail) lastLine() string {
	text := strings.TrimSpace(t.text())
	text = strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	return strings.ToValidUTF8(text[:min(len(text), maxLine)], "")
}

// result returns what the module printed, as JSON.
func (c *call) result() (json.RawMessage, error) {
	result, err := readResult(c.task, c.stdout.kept)
	switch {
	case err != nil:
		return nil, taskpacks.Permanent(&taskpacks.Error{
			Reason: taskpacks.ReasonError, Type: "ResultError", Message: err.Error(), Traceback: c.stderr.text(),
		})
	case int64(len(result)) > c.stdout.limit: // a text has become longer
		return nil, tooLarge(c.stdout.limit)
	}
	return result, nil
}

func readResult(t *task, output []byte) ([]byte, error) {
	if !utf8.Valid(output) {
		return nil, fmt.Errorf("%s wrote to standard output what is not UTF-8: encode bytes as text, base64 for example", t.short)
	}
	if t.text {
		var quoted bytes.Buffer
		enc := json.NewEncoder(&quoted)
		enc.SetEscapeHTML(false)
		err := enc.Encode(string(output))
		return bytes.TrimSuffix(quoted.Bytes(), []byte("\n")), err
	}
	output = bytes.TrimSpace(output)
	switch {
	case len(output) == 0:
		return nil, fmt.Errorf("%s wrote nothing to standard output: write the result there as JSON, null for none", t.short)
	case !json.Valid(output):
		return nil, fmt.Errorf(`%s wrote to standard output what is not one JSON value; if it is to be text, set "output": "text". It begins %q`,
			t.short, output[:min(len(output), maxLine/4)])
	}
	return output, nil
}

// failure says how the module failed. err is its exit or its trap.
func (c *call) failure(err error) error {
	failed := &taskpacks.Error{Reason: taskpacks.ReasonError, Type: "ExitStatus", Traceback: c.stderr.text()}
	exit := (*sys.ExitError)(nil)
	switch {
	case c.memory.refused:
		failed.Reason, failed.Type = taskpacks.ReasonMemory, "MemoryLimit"
		failed.Message = fmt.Sprintf("%s asked for more than the %d bytes of memory that it may have: use less, or raise \"memory\" of the task",
			c.task.short, len(c.memory.area))
		return failed
	case !errors.As(err, &exit):
		what, stack, _ := strings.Cut(strings.TrimPrefix(err.Error(), "wasm error: "), "\n")
		failed.Reason, failed.Type = taskpacks.ReasonCrash, "Trap"
		failed.Message = fmt.Sprintf("%s trapped: %s", c.task.short, what)
		failed.Traceback += stack
		return failed
	}
	failed.Message = fmt.Sprintf("%s exited with status %d", c.task.short, exit.ExitCode())
	if line := c.stderr.lastLine(); line != "" {
		failed.Message += ": " + line
	}
	if exit.ExitCode() == tryAgain {
		return failed
	}
	return taskpacks.Permanent(failed)
}
