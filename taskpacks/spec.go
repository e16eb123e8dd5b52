package taskpacks

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// The codes of a Fault.
const (
	CodeMissing = "missing" // a required param was not passed
	CodeType    = "type"    // a value has another type than declared
	CodeRange   = "range"   // a number does not fit in the bits that the func has for it
	CodeUnknown = "unknown" // a param was passed that is not declared
	CodeArgs    = "args"    // the arguments as a whole are no JSON object
)

// maxUnknown bounds how many undeclared params are listed, so that a caller who sends a million costs one pass.
const maxUnknown = 32

// inlineParams is how many params are checked without allocating.
const inlineParams = 12

// Spec is the signature of a func: what a caller may pass, and how it is to be run. It is plain data and travels between
// nodes as JSON.
type Spec struct {
	Name   string  `json:"name"`   // "<pack>.main.<function>", for example "test.main.add"
	Params []Param `json:"params"` // in order of declaration

	Protected   bool          `json:"protected,omitempty"`    // a caller needs a token that allows this func
	Timeout     time.Duration `json:"timeout,omitempty"`      // per attempt, in nanoseconds on the wire; 0 = the node's default
	MaxAttempts int           `json:"max_attempts,omitempty"` // 0 = the default
	Doc         string        `json:"doc,omitempty"`          // what the func does, for people
}

// Param is one parameter of a func.
type Param struct {
	Name     string          `json:"name"`
	Type     Type            `json:"type"`
	Required bool            `json:"required,omitempty"`
	Default  json.RawMessage `json:"default,omitempty"` // the value when none is passed; nil = the zero value of the func's Go type
}

// Fault is one thing that is wrong with the arguments of a call.
type Fault struct {
	Param   string `json:"param,omitempty"` // empty for CodeArgs
	Code    string `json:"code"`            // one of the Code constants
	Message string `json:"message"`         // a sentence for people, which begins as it always did
	Got     string `json:"got,omitempty"`   // the class of what was passed, and where inside the value: "<class 'str'> at [2]"
	Want    string `json:"want,omitempty"`  // the declared type
}

// FaultsError is returned for arguments that do not fit: every fault, those of declared params first and in order of
// declaration, then undeclared params in order of appearance, 32 of those at most.
type FaultsError struct{ Faults []Fault }

// Error returns the message of the first fault.
func (e *FaultsError) Error() string { return e.Faults[0].Message }

// Check returns nil if args, a JSON object as it was sent, may be passed to the func, and otherwise a *FaultsError. Absent
// args count as {}. Of a key given twice the last one counts. args should be valid JSON: text that is not is judged by what
// can be read of it.
func (s *Spec) Check(args json.RawMessage) error {
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	var inline [inlineParams]span
	found := inline[:]
	if len(s.Params) > inlineParams {
		found = make([]span, len(s.Params))
	}
	var unknown []string
	if !locate(s.Params, args, found, &unknown) {
		return notObject()
	}

	var faults []Fault
	for i := range s.Params {
		p := &s.Params[i]
		switch {
		case found[i] != span{}:
			if m := p.Type.judge(found[i].of(args)); m != nil {
				faults = append(faults, p.fault(m))
			}
		case p.Required:
			faults = append(faults, Fault{
				Param: p.Name, Code: CodeMissing, Want: p.Type.String(),
				Message: "the required param " + p.Name + " was not passed. ",
			})
		}
	}
	for _, name := range unknown {
		faults = append(faults, Fault{
			Param: name, Code: CodeUnknown,
			Message: "the passed param " + name + " is not required.",
		})
	}
	if faults == nil {
		return nil
	}
	return &FaultsError{Faults: faults}
}

// WithDefaults returns args with the default of each param that is not passed. What is passed stays as it was sent, numbers to
// the last digit; the defaults stand behind it, in order of declaration. Args that are no JSON object are a *FaultsError; that
// they fit is for Check to say.
func (s *Spec) WithDefaults(args json.RawMessage) (json.RawMessage, error) {
	args = bytes.TrimSpace(args)
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	found := make([]span, len(s.Params))
	if !locate(s.Params, args, found, nil) || args[len(args)-1] != '}' {
		return nil, notObject()
	}
	var full []byte // nil as long as nothing is missing
	for i := range s.Params {
		p := &s.Params[i]
		if found[i] != (span{}) || p.Default == nil {
			continue
		}
		if full == nil {
			full = append(full, bytes.TrimSpace(args[:len(args)-1])...)
		}
		if full[len(full)-1] != '{' {
			full = append(full, ',')
		}
		full = append(full, marshalPlain(p.Name)...)
		full = append(append(full, ':'), p.Default...)
	}
	if full == nil {
		return args, nil
	}
	return append(full, '}'), nil
}

func notObject() *FaultsError {
	return &FaultsError{Faults: []Fault{{Code: CodeArgs, Message: "the args must be a JSON object.", Want: "<class 'dict'>"}}}
}

// locate finds the value of each param in args and writes its place to found, which is at least as long as params. Names that
// are not declared go to unknown, if that is not nil. It returns false if args is no object.
func locate(params []Param, args []byte, found []span, unknown *[]string) bool {
	walk, ok := membersOf(args)
	if !ok {
		return false
	}
	guess := 0 // callers mostly keep the order of declaration
	for {
		key, value, ok := walk.next()
		if !ok {
			return true
		}
		i := indexOf(params, key, guess)
		switch {
		case i >= 0:
			found[i] = value
			guess = i + 1
		case unknown != nil && len(*unknown) < maxUnknown:
			if name := unescape(key); !slices.Contains(*unknown, name) {
				*unknown = append(*unknown, name)
			}
		}
	}
}

// indexOf returns which param the raw key names, or -1.
func indexOf(params []Param, key []byte, guess int) int {
	if guess < len(params) && params[guess].Name == string(key) {
		return guess
	}
	name := string(key)
	if !plain(key) {
		name = unescape(key)
	}
	for i := range params {
		if params[i].Name == name {
			return i
		}
	}
	return -1
}

func (p *Param) fault(m *misfit) Fault {
	f := Fault{Param: p.Name, Code: m.code, Got: m.got, Want: p.Type.String()}
	if m.at != "" {
		f.Got += " at " + m.at
	}
	if m.code == CodeRange {
		f.Message = "the passed param " + p.Name + " " + m.why + "."
	} else {
		f.Message = "the passed param " + p.Name + " doesnt match the required type: " + f.Want + "."
	}
	return f
}
