package taskpacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

type valueError struct{}

func (valueError) Error() string { return "no value" }

type genericError[T any] struct{}

func (*genericError[T]) Error() string { return "generic" }

func TestErrorType(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{errors.New("a"), "Error"},
		{fmt.Errorf("a: %w", errors.New("b")), "Error"},
		{errors.Join(errors.New("a"), errors.New("b")), "Error"},
		{fmt.Errorf("a: %w", &fs.PathError{Err: errors.New("b")}), "PathError"},
		{Permanent(fmt.Errorf("a: %w", valueError{})), "ValueError"},
		{Permanent(errors.New("a")), "Error"},
		{context.DeadlineExceeded, "DeadlineExceededError"},
		{&genericError[int]{}, "GenericError"},
		{&PanicError{}, "PanicError"},
	}
	for _, tt := range tests {
		if got := ErrorType(tt.err); got != tt.want {
			t.Errorf("ErrorType(%#v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestPermanent(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("outer: %w", Permanent(cause))
	if !IsPermanent(err) || !errors.Is(err, cause) || err.Error() != "outer: cause" {
		t.Errorf("%q: permanent %v, is its cause %v", err, IsPermanent(err), errors.Is(err, cause))
	}
	if IsPermanent(cause) || IsPermanent(nil) || Permanent(nil) != nil {
		t.Error("an error that nobody marked is permanent, or a nil one is")
	}
}

func blowUp(list []int) int { return list[3] }

func TestPanic(t *testing.T) {
	tests := []struct {
		name  string
		run   func()
		value string
	}{
		{"text", func() { panic("boom") }, "boom"},
		{"error", func() { panic(valueError{}) }, "no value"},
		{"nil", func() { panic(nil) }, "panic called with nil argument"},
		{"runtime", func() { blowUp(nil) }, "runtime error: index out of range [3] with length 0"},
	}
	for _, tt := range tests {
		fn := Define("p.main.f", func(context.Context, empty) (any, error) { tt.run(); return 1, nil })
		result, err := fn.Call(t.Context(), nil)
		var got *PanicError
		if !errors.As(err, &got) || result != nil {
			t.Fatalf("%s: Call = %s, %v; want a *PanicError", tt.name, result, err)
		}
		if got.Value != tt.value || err.Error() != "panic: "+tt.value {
			t.Errorf("%s: value %q, want %q", tt.name, got.Value, tt.value)
		}
		if !strings.HasPrefix(got.Stack, "pytasks/taskpacks.") || !strings.Contains(got.Stack, "errors_test.go:") {
			t.Errorf("%s: the stack does not begin in the func:\n%s", tt.name, got.Stack)
		}
		if strings.Contains(got.Stack, "runtime.") || strings.Contains(got.Stack, "Define") || strings.Contains(got.Stack, "testing.") {
			t.Errorf("%s: the stack holds more than the func's own frames:\n%s", tt.name, got.Stack)
		}
	}
}

func dig(depth int) {
	if depth == 0 {
		panic(strings.Repeat("é", maxPanicText))
	}
	dig(depth - 1)
}

func TestPanicIsBounded(t *testing.T) {
	fn := NewFunc(Spec{Name: "p.main.f"}, func(context.Context, json.RawMessage) (json.RawMessage, error) { dig(10_000); return nil, nil })
	_, err := fn.Call(t.Context(), nil)
	var got *PanicError
	if !errors.As(err, &got) {
		t.Fatalf("Call = %v, want a *PanicError", err)
	}
	for _, text := range []string{got.Value, got.Stack} {
		if len(text) > maxPanicText || !utf8.ValidString(text) || text == "" {
			t.Errorf("a text of %d bytes, valid UTF-8 %v; want 1 to %d", len(text), utf8.ValidString(text), maxPanicText)
		}
	}
	if !strings.Contains(got.Stack, "taskpacks.dig\n") {
		t.Errorf("the stack does not show dig:\n%s", got.Stack)
	}
}

func TestCallWithoutCode(t *testing.T) {
	fn := Func{Spec: Spec{Name: "p.main.f"}}
	if _, err := fn.Call(t.Context(), nil); err == nil || !IsPermanent(err) {
		t.Errorf("Call of a func without code = %v, want a permanent error", err)
	}
}
