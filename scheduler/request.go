package scheduler

import "pytasks/fsm"

// request is the commands of one call.
type request struct {
	cmds   []*fsm.Command
	weight int64 // tasks to queue, and other commands
	bytes  int   // about what they take in an entry
	outs   []*fsm.Outcome
	err    error
	done   chan struct{}
}

func newRequest(cmds []*fsm.Command) *request {
	r := &request{cmds: cmds, outs: make([]*fsm.Outcome, len(cmds)), done: make(chan struct{})}
	for _, c := range cmds {
		r.bytes += size(c)
		r.weight++
		if s := c.GetSubmit(); s != nil {
			r.weight += int64(len(s.Tasks)) - 1
		}
	}
	return r
}

func (r *request) answer(err error) {
	r.err = err
	close(r.done)
}

// size returns about how many bytes a command takes in an entry.
func size(c *fsm.Command) int {
	const fixed = 64
	switch k := c.Kind.(type) {
	case *fsm.Command_Submit:
		n := fixed
		for _, t := range k.Submit.Tasks {
			n += len(t.Args) + len(t.Where) + fixed
		}
		return n
	case *fsm.Command_Finish:
		return fixed + len(k.Finish.Result) + len(k.Finish.Log)
	case *fsm.Command_NodeUp:
		return fixed + len(k.NodeUp.Packs)
	case *fsm.Command_NodePacks:
		return fixed + len(k.NodePacks.Packs)
	case *fsm.Command_PackPut:
		return fixed + len(k.PackPut.Info)
	case *fsm.Command_NodeLabel:
		return fixed + k.NodeLabel.SizeVT()
	case *fsm.Command_UserPut:
		return fixed + k.UserPut.SizeVT()
	case *fsm.Command_KeysPut:
		return fixed + k.KeysPut.SizeVT()
	case *fsm.Command_SecretPut:
		return fixed + k.SecretPut.SizeVT()
	}
	return fixed
}

// reports says whether a command tells of something that has happened, and so
// must never wait behind new work.
func reports(c *fsm.Command) bool {
	switch c.Kind.(type) {
	case *fsm.Command_Submit, *fsm.Command_Cancel, *fsm.Command_PackPut, *fsm.Command_PackUse, *fsm.Command_PackRemove, *fsm.Command_NodeLabel,
		*fsm.Command_UserPut, *fsm.Command_UserRemove, *fsm.Command_KeysPut, *fsm.Command_SecretPut:
		return false
	}
	return true
}
