package fsm

// Error is a refusal with a stable code. The code crosses the wire between
// nodes, and errors.Is matches by it.
type Error struct {
	code, message string
}

func (e *Error) Error() string { return e.message }

// Code returns the stable code, for example "not_found".
func (e *Error) Code() string { return e.code }

// Is matches any error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(interface{ Code() string })
	return ok && t.Code() == e.code
}

// What the state machine and its queue refuse.
var (
	ErrNotFound  = &Error{"not_found", "there is no such task"}
	ErrStale     = &Error{"stale", "the attempt is not the task's current one"}
	ErrFinished  = &Error{"finished", "the task is finished already"}
	ErrIDTaken   = &Error{"id_taken", "another task has this id: choose another id, or leave it out"}
	ErrKeyReused = &Error{"key_reused", "this Idempotency-Key was used for another request: use a new key for a new request"}
	ErrQueueFull = &Error{"queue_full", "the queue is full: send it again later"}
	ErrDiskFull  = &Error{"disk_full", "a node that votes is short of disk space: free some there, or add some; then send it again"}
	ErrNameTaken = &Error{"name_taken", "a living node of this cluster has the same name: choose another --name"}
	ErrPackBusy  = &Error{"pack_busy", "unfinished tasks refer to this pack, or it is being removed: wait until they are done, or remove it by force"}
	ErrNoPack    = &Error{"no_pack", "the release of the pack that a task refers to is not installed, or is being removed: send it again"}
	ErrNoBlob    = &Error{"no_blob", "the arguments or the result of this task are on no node that can be reached now: ask again"}
	ErrLastAdmin = &Error{"last_admin", "nobody would be left who may do everything: give another user the scope admin before"}
	ErrLastNode  = &Error{"last_node", "no node would be left that takes tasks, so that nothing would run: resume or add another one before, or drain this one by force"}
	ErrConflict  = &Error{"conflict", "it was changed meanwhile, or exists already: look at it and send it again"}
	ErrMisfit    = &Error{"misfit", "the command does not fit the state any more"}
	ErrBadCursor = &Error{"bad_cursor", "the cursor is not one that this API gave out: leave it out to start again"}

	// ErrNoLeader means that nothing was written.
	ErrNoLeader = &Error{"no_leader", "the cluster has no leader now: nothing was written, send it again"}
	// ErrUnknown means that the write may or may not survive.
	ErrUnknown = &Error{"unknown", "the outcome is unknown: the write may or may not have been done"}
)

// Err turns the code of an outcome into its error, nil for OK.
func (c Code) Err() error {
	switch c {
	case Code_OK:
		return nil
	case Code_STALE:
		return ErrStale
	case Code_NOT_FOUND:
		return ErrNotFound
	case Code_FINISHED:
		return ErrFinished
	case Code_ID_TAKEN:
		return ErrIDTaken
	case Code_KEY_REUSED:
		return ErrKeyReused
	case Code_QUEUE_FULL:
		return ErrQueueFull
	case Code_DISK_FULL:
		return ErrDiskFull
	case Code_NAME_TAKEN:
		return ErrNameTaken
	case Code_PACK_BUSY:
		return ErrPackBusy
	case Code_NO_PACK:
		return ErrNoPack
	case Code_LAST_ADMIN:
		return ErrLastAdmin
	case Code_CONFLICT:
		return ErrConflict
	case Code_LAST_NODE:
		return ErrLastNode
	default:
		return ErrMisfit
	}
}
