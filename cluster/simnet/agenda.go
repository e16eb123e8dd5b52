package simnet

import "time"

// action is something that will happen on the network. It runs with mu held and does not block.
type action interface{ happen(now time.Duration) }

type event struct {
	due    time.Duration
	order  uint64 // of events that are due together
	action action
}

func (e event) before(other event) bool {
	return e.due < other.due || e.due == other.due && e.order < other.order
}

// agenda holds what will happen as a heap, and one timer for the soonest of it.
type agenda struct {
	events []event
	count  uint64
	timer  *time.Timer
	busy   bool // run is at work and sets the timer at its end
}

// at arranges for an action at a time, or at once after what is under way if that has passed.
func (n *Network) at(due time.Duration, what action) {
	a := &n.agenda
	a.count++
	a.push(event{due: due, order: a.count, action: what})
	if !a.busy && a.events[0].order == a.count {
		n.setTimer()
	}
}

func (n *Network) setTimer() {
	wait := n.agenda.events[0].due - n.now()
	if n.agenda.timer == nil {
		n.agenda.timer = time.AfterFunc(wait, n.run)
	} else {
		n.agenda.timer.Reset(wait)
	}
}

// run does what is due.
func (n *Network) run() {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := &n.agenda
	a.busy = true
	now := n.now()
	for len(a.events) > 0 && a.events[0].due <= now {
		a.pop().happen(now)
	}
	a.busy = false
	if len(a.events) > 0 {
		n.setTimer()
	}
}

func (a *agenda) push(e event) {
	a.events = append(a.events, e)
	i := len(a.events) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(a.events[parent]) {
			break
		}
		a.events[i] = a.events[parent]
		i = parent
	}
	a.events[i] = e
}

func (a *agenda) pop() action {
	first := a.events[0].action
	last := len(a.events) - 1
	e := a.events[last]
	a.events[last] = event{}
	a.events = a.events[:last]
	if last == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && a.events[child+1].before(a.events[child]) {
			child++
		}
		if !a.events[child].before(e) {
			break
		}
		a.events[i] = a.events[child]
		i = child
	}
	a.events[i] = e
	return first
}
