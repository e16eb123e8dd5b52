// Package fsm says what the replicated bytes mean: the commands of the log, the
// state of tasks and nodes that applying them makes, and typed writes to it. It
// opens no socket and knows neither who leads nor where work runs best.
//
// Start with fsm.proto, which has every command and record; then apply.go, which
// is the life of a task; then state.go, which holds the records.
//
//	Queue.Submit ──commands──▶ Log (the leader) ──Entry──▶ raft ──▶ FSM.Apply ──▶ State
//
// # Commands
//
//	number  command    who sends it   what it does
//	1       Submit     any node       queues tasks, all or none
//	2       Assign     the leader     gives a pending task to a node, as its next attempt
//	3       Finish     its node       commits an attempt's outcome, once
//	4       Release    its node       hands an attempt back
//	5       Cancel     any node       revokes a task that is not finished
//	6       Tick       the leader     makes due tasks ready
//	7       Purge      the leader     forgets old finished tasks and Idempotency-Keys
//	8       NodeUp     that node      registers a start of a node
//	9       NodeDown   the leader     requeues what a lost node was running
//	10      NodeDrain  that node      stops or resumes giving work to a node
//
// # Rules of Apply
//
// The same log gives the same state, on any machine and in any year: no clock, no
// randomness, no order of a map, no I/O but the state's own store. Times and ids
// arrive inside the commands. A result counts only for the current attempt of a
// task that is running: (task, attempt) is the fence, checked in applier.current
// and nowhere else. Every command may be applied twice and has its effect once,
// because raft cannot always say whether a write survived. A command that does
// not fit is refused by its Outcome; an entry that cannot be understood stops the
// node.
//
// # Adding a command
//
// Give it the next number in fsm.proto (numbers are never reused), run `make
// generate`, write its apply function, add its golden bytes to testdata and its
// row to the table above. A release first learns to apply a new command; the next
// one sends it.
package fsm
