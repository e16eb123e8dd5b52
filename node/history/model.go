package history

// step is an operation as it bears on one task, at one moment.
type step struct {
	what stepKind
	read Record // of strong and weak; of ended its status alone
}

type stepKind int

const (
	made    stepKind = iota // a submit: the task is there from now on
	strong                  // read as it is at this moment
	weak                    // was as read, at this moment or before
	ended                   // is final with that status
	revoked                 // a cancel that was acknowledged
	tried                   // a cancel that may have been done
)

// register is what is known for sure of a task. A task moves on by itself between the
// operations on it, but only to higher ranks and only once to an end, so the lowest rank
// that it can have stands for all that are possible: the model needs no set of states.
type register struct {
	rank int    // lowest possible, -1 = no such task
	end  string // its final status, "" = it is not known to be final
	sum  string // of its final record, "" = not read yet
}

// apply returns the register after a step, and whether the step is possible at all.
func (r register) apply(s step) (register, bool) {
	if r.rank < 0 {
		switch {
		case s.what == made:
			return register{}, true
		case s.what == tried, s.what == strong && s.read.Status == Absent:
			return r, true
		}
		return r, false
	}
	switch s.what {
	case made:
		return r, true
	case ended:
		return r.finish(s.read.Status)
	case revoked:
		return r.revoke()
	case tried:
		if r.end == "" {
			r.end = "REVOKED"
		}
		return r, true
	case weak:
		return r.weak(&s.read)
	}
	if s.read.Final() {
		return r.weak(&s.read)
	}
	ok := r.end == "" && s.read.rank() >= r.rank
	r.rank = s.read.rank()
	return r, ok
}

// weak takes in a record that was true once. What is final stays true.
func (r register) weak(read *Record) (register, bool) {
	rank := read.rank()
	if !read.Final() {
		if r.sum != "" { // the number of its last attempt is known
			return r, rank <= r.rank
		}
		r.rank = max(r.rank, rank)
		return r, true
	}
	ended, ok := r.finish(read.Status)
	switch {
	case !ok:
		return r, false
	case r.sum != "":
		return r, r.sum == read.Sum
	}
	return register{rank: rank, end: ended.end, sum: read.Sum}, rank >= r.rank
}

// finish takes in how the task ended. Tasks succeed and fail by themselves, but only a
// cancel revokes one, and must have come before.
func (r register) finish(status string) (register, bool) {
	if r.end == "" && status != "REVOKED" {
		r.end = status
	}
	return r, r.end == status
}

func (r register) revoke() (register, bool) {
	if r.end == "" {
		r.end = "REVOKED"
	}
	return r, r.end == "REVOKED"
}
