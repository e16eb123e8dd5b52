package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// fields are the values of a task in a body, as they were sent. nil = absent.
type fields struct {
	typ, args                                         []byte
	priority, delay, eta, timeout, retry, id, tagList []byte
}

// set keeps the value of a key. Of a key given twice the last one counts;
// unknown keys are ignored, as they always were.
func (f *fields) set(key, value []byte) {
	switch string(key) {
	case "type":
		f.typ = value
	case "args":
		f.args = value
	case "priority":
		f.priority = value
	case "delay":
		f.delay = value
	case "eta":
		f.eta = value
	case "timeout":
		f.timeout = value
	case "retry":
		f.retry = value
	case "id":
		f.id = value
	case "tags":
		f.tagList = value
	}
}

// check judges a task in the order of the contract and fills in n, all but its
// key.
func (a *api) check(f *fields, h http.Header, n *fsm.New) *problem {
	if f.typ == nil {
		return missing("type", needType)
	}
	name, ok := textValue(f.typ)
	if !ok {
		return invalid("type", needType+" as a text, such as \"test.main.add\": got '"+className(f.typ)+"'")
	}
	if p := a.checkArgs(f.args); p != nil {
		return p
	}
	spec, ok := a.Catalog.Spec(name)
	if !ok {
		return &problem{status: http.StatusNotFound, code: codeUnknownType, message: "task type " + name + " doesnt exist"}
	}
	if spec.Protected {
		if p := authorize(h); p != nil {
			return p
		}
	}
	if err := spec.Check(f.args); err != nil {
		p := &problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: err.Error()}
		var faults *taskpacks.FaultsError
		if errors.As(err, &faults) {
			p.faults = faults.Faults
		}
		return p
	}
	n.Type = spec.Name
	n.Args = f.args
	if faults := f.options(n, spec); faults != nil {
		return &problem{
			status: http.StatusUnprocessableEntity, code: codeArgs,
			message: faults[0].Message, faults: faults,
		}
	}
	return nil
}

func (a *api) checkArgs(args []byte) *problem {
	switch {
	case args == nil:
		return missing("args", needArgs)
	case len(args) > a.MaxArgs:
		return &problem{
			status: http.StatusRequestEntityTooLarge, code: codeTooLarge,
			message: fmt.Sprintf("the args are %d bytes long, the limit is %d", len(args), a.MaxArgs),
		}
	case args[0] == '{':
		return nil
	}
	switch class := className(args); class {
	case "list", "str":
		return invalid("args", needArgs+" '"+class+"' object is not a dict")
	default:
		return invalid("args", needArgs+" '"+class+"' object is not iterable")
	}
}

// asFaults returns what is wrong as a list, whatever kind of problem it is.
func (p *problem) asFaults() []taskpacks.Fault {
	switch {
	case p.faults != nil:
		return p.faults
	case p.field != "":
		return []taskpacks.Fault{{Param: p.field, Code: p.code, Message: p.text}}
	}
	return []taskpacks.Fault{{Code: p.code, Message: p.message}}
}
