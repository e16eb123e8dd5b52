package node

import (
	"pytasks/fsm"
)

const (
	// maxProgressText bounds the text of an attempt's progress, in bytes.
	maxProgressText = 256
	// recentLogs is how many logs of attempts that ended are kept, for those who follow them.
	recentLogs = 64
)

// progress is how far an attempt says it is. The leader hears of it by heartbeats; the log never does.
type progress struct {
	fraction float64 // 0 to 1
	text     string
	told     bool // something was told at all
}

// endedLog is the log of an attempt that ended.
type endedLog struct {
	key     fsm.Key
	attempt uint32
	log     *taskLog
}

// tellProgress notes how far an attempt is, and has it told soon.
func (e *executor) tellProgress(a *attempt, fraction float64, text string) {
	if len(text) > maxProgressText {
		end := maxProgressText
		for end > 0 && text[end]&0xC0 == 0x80 { // not inside a rune
			end--
		}
		text = text[:end]
	}
	e.mu.Lock()
	a.told = progress{fraction, text, true}
	e.mu.Unlock()
	poke(e.told)
}

// progress returns how far the running attempts are.
func (e *executor) progress() []*fsm.TaskProgress {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*fsm.TaskProgress
	for k, a := range e.attempts {
		if a.told.told && a.state == attemptRunning {
			out = append(out, &fsm.TaskProgress{Key: k[:], Attempt: a.task.Attempt, Fraction: a.told.fraction, Text: a.told.text})
		}
	}
	return out
}

// keepLog keeps the log of an attempt whose code has returned. mu is held.
func (e *executor) keepLog(a *attempt) {
	if a.log.empty() {
		return
	}
	if len(e.ended) == recentLogs {
		e.ended = append(e.ended[:0], e.ended[1:]...)
	}
	e.ended = append(e.ended, endedLog{fsm.Key(a.task.Key), a.task.Attempt, &a.log})
}

// logOf returns the log of an attempt that runs here or did lately, nil if it is not known.
func (e *executor) logOf(key fsm.Key, number uint32) *taskLog {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a := e.attempts[key]; a != nil && a.task.Attempt == number {
		return &a.log
	}
	for _, l := range e.ended {
		if l.key == key && l.attempt == number {
			return l.log
		}
	}
	return nil
}
