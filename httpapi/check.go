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
	typ, args                                                []byte
	priority, delay, eta, timeout, retry, id, tagList, place []byte

	slip   *slip // the first name that is not known, but nearly; nil = none
	looked uint8 // names that are not known and were looked at
}

// names are those that a task's members have.
var names = []string{"type", "args", "priority", "delay", "eta", "timeout", "retry", "id", "tags", "where"}

// set keeps the value of a key. Of a key given twice the last one counts;
// unknown keys are ignored, as they always were, unless one looks like a slip.
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
	case "where":
		f.place = value
	default:
		f.unknown(key)
	}
}

// slip is a name that is not known, and what it was likely to mean.
type slip struct {
	name  []byte
	meant string
}

// unknown looks whether a name that is not known looks like a slip: the first few, as there may be any number.
func (f *fields) unknown(key []byte) {
	const most = 8
	if f.slip != nil || f.looked == most {
		return
	}
	f.looked++
	if meant := near(key, names...); meant != "" {
		f.slip = &slip{key, meant}
	}
}

// check judges a task in the order of the contract and fills in n, all but its
// key.
func (c *call) check(f *fields, n *fsm.New) *problem {
	a := c.api
	if f.typ == nil {
		return missing("type", needType).hint(f.slip)
	}
	name, ok := textValue(f.typ)
	if !ok {
		return invalid("type", needType+" as a text, such as \"test.main.add\": got '"+className(f.typ)+"'")
	}
	if p := a.checkArgs(f.args); p != nil {
		if f.args == nil {
			p.hint(f.slip)
		}
		return p
	}
	spec, p := c.checkTask(name, f.args, n)
	if p != nil {
		return p
	}
	if faults := f.options(n, spec); faults != nil {
		return &problem{
			status: http.StatusUnprocessableEntity, code: codeArgs,
			message: faults[0].Message, faults: faults,
		}
	}
	return nil
}

// checkTask says whether the caller may run that type with these args, and fills in type, release and args.
func (c *call) checkTask(name string, args []byte, n *fsm.New) (*taskpacks.Spec, *problem) {
	spec, release, ok := c.api.Catalog.Spec(name)
	if !ok {
		return nil, &problem{status: http.StatusNotFound, code: codeUnknownType, message: "task type " + name + " doesnt exist"}
	}
	if spec.Protected {
		if p := c.protect(name); p != nil {
			return nil, p
		}
	} else if !c.who.MaySubmit(name) {
		return nil, &problem{status: http.StatusForbidden, code: codeForbidden, message: "submitting " + name + " needs the scope tasks:write, or the task in allowed_tasks"}
	}
	if err := spec.Check(args); err != nil {
		p := &problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: err.Error()}
		var faults *taskpacks.FaultsError
		if errors.As(err, &faults) {
			p.faults = faults.Faults
		}
		return nil, p
	}
	n.Type, n.Release, n.Args = spec.Name, release, args
	return spec, nil
}

// member returns the value of a task's member by its name.
func (f *fields) member(name string) []byte {
	switch name {
	case "type":
		return f.typ
	case "args":
		return f.args
	case "priority":
		return f.priority
	case "delay":
		return f.delay
	case "eta":
		return f.eta
	case "timeout":
		return f.timeout
	case "retry":
		return f.retry
	case "id":
		return f.id
	case "where":
		return f.place
	}
	return f.tagList
}

func (a *api) checkArgs(args []byte) *problem {
	switch {
	case args == nil:
		return missing("args", needArgs)
	case int64(len(args)) > a.MaxArgs:
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
