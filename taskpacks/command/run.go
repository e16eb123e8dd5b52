package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"pytasks/taskpacks"
	"pytasks/taskpacks/process"
)

const (
	// tryAgain is the exit status of an error that another try may mend: EX_TEMPFAIL of sysexits.h.
	tryAgain = 75
	// maxLine bounds what a message shows of a program's output, in bytes.
	maxLine = 400
)

// command is a func whose code is a program.
type command struct {
	host    *process.Host
	dir     string // of the pack
	name    string // short
	spec    taskpacks.Spec
	program string   // an absolute path
	args    []string // with placeholders, if input is viaArgv
	input   string
	output  string
}

// run is the func's taskpacks.Run.
func (c *command) run(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
	argv, stdin, err := c.prepare(args)
	if err != nil {
		return nil, taskpacks.Permanent(err)
	}
	call, _ := taskpacks.CallFrom(ctx)
	out, err := c.host.Once(ctx, process.Program{
		Argv: argv, Stdout: c.output != viaFD4,
		Env: []string{
			"PYTASKS_PACK_DIR=" + c.dir, "PYTASKS_TASK_ID=" + call.ID,
			"PYTASKS_ATTEMPT=" + strconv.Itoa(call.Attempt), "PYTASKS_NODE=" + call.Node,
		},
	}, stdin)
	if err != nil {
		return nil, c.startError(err)
	}
	if out.Exit != 0 {
		return nil, c.exitError(&out)
	}
	result, err := c.result(&out)
	if err != nil {
		return nil, taskpacks.Permanent(&taskpacks.Error{
			Reason: taskpacks.ReasonError, Type: "ResultError", Message: err.Error(), Traceback: string(out.Stderr),
		})
	}
	return result, nil
}

// prepare returns what a call is started with.
func (c *command) prepare(args json.RawMessage) (argv []string, stdin []byte, err error) {
	if err := c.spec.Check(args); err != nil {
		return nil, nil, err
	}
	if args, err = c.spec.WithDefaults(args); err != nil {
		return nil, nil, err
	}
	argv = append(argv, c.program)
	if c.input == viaJSON {
		return append(argv, c.args...), args, nil
	}
	var values map[string]json.RawMessage // never through float64: the digits stay
	if err := json.Unmarshal(args, &values); err != nil {
		return nil, nil, fmt.Errorf("read the arguments: %w", err)
	}
	texts := make(map[string]string, len(c.spec.Params))
	for _, p := range c.spec.Params {
		text, err := argText(values[p.Name])
		if err != nil {
			return nil, nil, fmt.Errorf("param %s: %w", p.Name, err)
		}
		texts[p.Name] = text
	}
	for _, arg := range c.args {
		argv = append(argv, placeholder.ReplaceAllStringFunc(arg, func(match string) string { return texts[match[1:len(match)-1]] }))
	}
	return argv, nil, nil
}

// argText writes a value as a part of an argument: a string as it is, anything else as JSON. A value that was not passed is null.
func argText(v json.RawMessage) (string, error) {
	switch {
	case len(v) == 0:
		return "null", nil
	case v[0] != '"':
		return string(v), nil
	}
	var text string
	if err := json.Unmarshal(v, &text); err != nil {
		return "", err
	}
	if strings.ContainsRune(text, 0) {
		return "", errors.New("an argument of a program cannot hold the character NUL")
	}
	return text, nil
}

// startError makes what the system says of a program that it cannot start into a sentence. Other errors stay as they are.
func (c *command) startError(err error) error {
	hint := ""
	switch e := (*process.StartError)(nil); {
	case !errors.As(err, &e):
		return err
	case errors.Is(err, syscall.E2BIG):
		hint = `its arguments are too long for the system: use "input": "json"`
	case errors.Is(err, syscall.ENOEXEC):
		hint = "it is no program for " + runtime.GOOS + "-" + runtime.GOARCH + ", and no script that begins with #!"
	case errors.Is(err, fs.ErrNotExist):
		hint = "it, or the interpreter that its first line names, is not there"
	default:
		return err
	}
	return taskpacks.Permanent(&taskpacks.Error{
		Reason: taskpacks.ReasonError, Type: "StartError", Message: c.name + " was not started: " + hint, Traceback: err.Error(),
	})
}

// exitError is the error of a program that says it failed.
func (c *command) exitError(out *process.Output) error {
	message := fmt.Sprintf("%s exited with status %d", c.name, out.Exit)
	if line := lastLine(out.Stderr); line != "" {
		message += ": " + line
	}
	err := &taskpacks.Error{
		Reason: taskpacks.ReasonError, Type: "ExitStatus", Message: message, Traceback: string(out.Stderr),
	}
	if out.Exit == tryAgain {
		return err
	}
	return taskpacks.Permanent(err)
}

// result reads the result of a program that ended well.
func (c *command) result(out *process.Output) (json.RawMessage, error) {
	text, where := out.Stdout, "standard output"
	if c.output == viaFD4 {
		text, where = out.FD4, "file descriptor 4"
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s wrote to %s what is not UTF-8: encode bytes as text, base64 for example", c.name, where)
	}
	if c.output == viaText {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(string(text)); err != nil {
			return nil, err
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("%s wrote nothing to %s: write the result there as JSON, null for none", c.name, where)
	case !json.Valid(text):
		return nil, fmt.Errorf(`%s wrote to %s what is not one JSON value; if it is to be text, set "output": "text". It begins %q`,
			c.name, where, text[:min(len(text), maxLine/4)])
	}
	return text, nil
}

// lastLine returns the last line of a text that is not blank, shortened.
func lastLine(text []byte) string {
	text = bytes.TrimSpace(text)
	text = bytes.TrimSpace(text[bytes.LastIndexByte(text, '\n')+1:])
	return strings.ToValidUTF8(string(text[:min(len(text), maxLine)]), "")
}
