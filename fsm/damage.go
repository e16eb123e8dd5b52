package fsm

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errDamaged means that the state's file is not what was written to it.
var errDamaged = errors.New("the file is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errDamaged}, args...)...)
}

// guard runs f, which reads or writes the store, and returns as an error what damage
// looks like: a record that does not fit its checksum, a page that bbolt panics over, a
// page that the disk does not give back.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			if err = p; !errors.Is(err, errDamaged) {
				err = damaged("%w", p)
			}
		default:
			err = damaged("%v", p)
		}
	}()
	return f()
}

// checked stops the node if an error of the store tells of damage: what the file gave is
// not used, nothing is written to it any more, and the next start builds it anew.
func (s *State) checked(err error) error {
	if !errors.Is(err, errDamaged) || !s.broken.CompareAndSwap(nil, &brokenError{err}) {
		return err
	}
	told := fmt.Errorf("read state %s: %w; nothing of it is used any more: start the node again, it rebuilds the state "+
		"from its snapshot and the log by itself; if this happens again, look at the disk", s.path(), err)
	if err := s.boot.damaged(); err != nil {
		told = fmt.Errorf("%w; before that, remove the file: it could not be marked: %w", told, err)
	}
	s.cfg.Fatal(told)
	return err
}
