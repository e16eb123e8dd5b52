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
	ErrNameTaken = &Error{"name_taken", "a living node of this cluster has the same name: choose another --name"}
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
	case Code_NAME_TAKEN:
		return ErrNameTaken
	default:
		return ErrMisfit
	}
}
