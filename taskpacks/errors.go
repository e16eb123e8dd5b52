package taskpacks

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrNotEligible is wrapped by the error of opening a pack that is sound but cannot run on this machine: its program is there for
// other platforms only, or is not installed here. A node goes on without the pack.
var ErrNotEligible = errors.New("the pack cannot run on this machine")

// maxPanicText bounds each text of a PanicError, in bytes: it is stored with the task on every node.
const maxPanicText = 8 << 10

// maxPanicFrames bounds the frames of a PanicError; the innermost are kept.
const maxPanicFrames = 64

// PanicError is what Func.Call returns when the func panics.
type PanicError struct {
	Value string // what was passed to panic, as text
	Stack string // the func's own frames, innermost first, two lines each: the function, then file and line
}

// Error returns the panic's value as text.
func (e *PanicError) Error() string { return "panic: " + e.Value }

// newPanicError is called by the deferred function that recovered v, while the stack of the panic still stands.
func newPanicError(v any) *PanicError {
	pcs := make([]uintptr, maxPanicFrames)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	own := reflect.TypeFor[Func]().PkgPath()

	var stack strings.Builder
	inPanic := false // past the runtime's frame of panic itself
	for {
		frame, more := frames.Next()
		fromRuntime := strings.HasPrefix(frame.Function, "runtime.")
		switch {
		case strings.HasPrefix(frame.Function, "runtime.gopanic"):
			inPanic = true
		case !inPanic, fromRuntime && stack.Len() == 0:
		case strings.HasPrefix(frame.Function, own+".Define["), strings.HasPrefix(frame.Function, own+".(*Func)"):
			more = false
		default:
			fmt.Fprintf(&stack, "%s\n\t%s:%d\n", frame.Function, frame.File, frame.Line)
		}
		if !more {
			break
		}
	}
	return &PanicError{Value: clip(fmt.Sprint(v)), Stack: clip(stack.String())}
}

// clip cuts text to maxPanicText bytes, at the start of a character.
func clip(text string) string {
	if len(text) <= maxPanicText {
		return text
	}
	const tail = "..."
	end := maxPanicText - len(tail)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + tail
}

// The reasons of an Error.
const (
	ReasonError  = "error"  // the code says that it failed
	ReasonCrash  = "crash"  // the process that ran it ended without an answer
	ReasonMemory = "memory" // it took more memory than it may
)

// Error is how code outside this program failed: a Python func, a command.
type Error struct {
	Reason    string // one of the reasons above
	Type      string // the class of the exception, "ZeroDivisionError"; for people
	Message   string
	Traceback string // "" where there is none
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ResultError is returned when a func's result cannot be written as JSON: NaN, an infinity, a channel.
type ResultError struct{ Err error }

func (e *ResultError) Error() string { return "the result cannot be written as JSON: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ResultError) Unwrap() error { return e.Err }

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as one that trying again would not mend. Its text stays the same; nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err, or an error that it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// ErrorType returns a short name for the kind of err, for people: the name of its Go type without package, with a capital
// letter. Wrappers that say nothing are looked through; what is left of errors.New and fmt.Errorf is "Error".
func ErrorType(err error) string {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Type
	}
	for err != nil {
		t := reflect.TypeOf(err)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		name, _, _ := strings.Cut(t.Name(), "[") // without type arguments
		if name != "" && !saysNothing(t) {
			first, size := utf8.DecodeRuneInString(name)
			return string(unicode.ToUpper(first)) + name[size:]
		}
		err = errors.Unwrap(err)
	}
	return "Error"
}

func saysNothing(t reflect.Type) bool {
	return t.PkgPath() == "errors" || t.PkgPath() == "fmt" || t == reflect.TypeFor[permanentError]()
}
