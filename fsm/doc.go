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
//	number  command     who sends it   what it does
//	1       Submit      any node       queues tasks, all or none
//	2       Assign      the leader     gives a pending task to a node, as its next attempt
//	3       Finish      its node       commits an attempt's outcome, once
//	4       Release     its node       hands an attempt back
//	5       Cancel      any node       revokes a task that is not finished
//	6       Tick        the leader     makes due tasks ready
//	7       Purge       the leader     forgets old finished tasks, Idempotency-Keys and audit records
//	8       NodeUp      that node      registers a start of a node
//	9       NodeDown    the leader     requeues what a lost node was running
//	10      NodeDrain   any node       stops or resumes giving work to a node
//	11      PackPut     any node       installs a release of a pack, and makes it current
//	12      PackUse     any node       makes another release current
//	13      PackRemove  any node       removes a release or a pack; by force its tasks end
//	14      NodePacks   that node      says what a node can run from now on
//	15      UserPut     any node       makes a user, or changes one
//	16      UserRemove  any node       removes a user
//	17      KeysPut     any node       replaces the keys that tokens are signed with
//	18      SecretPut   any node       moves the change of the cluster's secret on, or ends it
//	19      NodeLabel   any node       gives a node labels, or takes some away
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
// # Packs
//
// A task runs with what the nodes were built with, or with one release of an installed
// pack, which it names for its whole life: what was queued before another release came
// runs as it was meant. PackKey is what it waits by, and what nodes say that they can
// run. A release cannot go away while an unfinished task refers to it; that is counted
// from the tasks. A removal by force ends them, some in each command, and meanwhile the
// release takes no new ones. Where its caller is gone, the leader goes on with it.
//
// A task may ask for labels of its node, and then waits by these too: WaitKey.
//
// # Blobs
//
// Arguments and results that are too large for the log are named in it: a digest and a
// size. Their bytes are elsewhere, and before a command names them they are on the disks of
// a majority; who sends it sees to that. The state says which blobs its tasks' records
// name, from the command on until they are forgotten: EachBlob. They count for the bounds of
// the queue and of what is kept like bytes that are in it.
//
// # Users, keys and the audit log
//
// The state has the users, the keys that their tokens are signed with, and a change of the
// cluster's secret while it is under way; who may do what is decided where requests come in. A
// User.Epoch is the log index of its password: tokens of an earlier epoch are void. Keys and
// rotation are replaced by naming the version that is replaced, so that of two nodes which do
// it at once one is refused. One user who may do everything stays, once there is one.
//
// A Command.Actor is who asked for it. Its tasks belong to that user, an Idempotency-Key is one
// of each user, and what it came to is a record of the audit log: who, from where, what, of
// what, with which outcome; never a password's hash, a key or an argument. A command that
// nobody asked for leaves none, one that is applied twice leaves two, and one that the leader
// refused, because the queue is full, never came here. The records of one log entry are one
// value of each class, Submit and Cancel being a class of their own: each class has its own
// bounds, so that a flood of tasks does not push out who was given which rights. Purge forgets
// the oldest.
//
// # Adding a command
//
// Give it the next number in fsm.proto (numbers are never reused), run `make
// generate`, write its apply function, add its golden bytes to testdata and its
// row to the table above. A release first learns to apply a new command, or a new field
// of one; the next one sends it.
package fsm
