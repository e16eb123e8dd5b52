package cluster

import (
	"errors"
	"fmt"
)

// Sentinel is an error with a code that crosses the wire, so that errors.Is works for a forwarded call too.
type Sentinel struct{ code, text string }

// Error returns the sentence for people.
func (e *Sentinel) Error() string { return e.text }

// Code returns the stable code for programs.
func (e *Sentinel) Code() string { return e.code }

var (
	// ErrNotLeader is definite: this node is not the leader (or not yet, or no longer), nothing was proposed.
	ErrNotLeader = &Sentinel{"not_leader", "this node is not the leader"}
	// ErrNoLeader is definite: no leader is known at the moment.
	ErrNoLeader = &Sentinel{"no_leader", "the cluster has no leader at the moment"}
	// ErrUnknown is ambiguous: what was asked for may have happened, may happen later, or never.
	ErrUnknown = &Sentinel{"outcome_unknown", "the outcome is unknown"}
	// ErrRefused is definite: the node's machine answered that no process listens at the node's address.
	ErrRefused = &Sentinel{"refused", "connection refused"}
	// ErrUnreachable is definite: no connection to the node came about, so nothing was sent.
	ErrUnreachable = &Sentinel{"unreachable", "the node cannot be reached"}
	// ErrReplaced is what Probe answers if another node listens at the address of the one asked for.
	ErrReplaced = &Sentinel{"replaced", "another node answers at this address"}
	// ErrNameTaken makes Open fail: another live node has the configured name.
	ErrNameTaken = &Sentinel{"name_taken", "the name is already used by another live node"}
	// ErrForeignCluster says that two nodes belong to different clusters.
	ErrForeignCluster = &Sentinel{"foreign_cluster", "the node belongs to another cluster"}
	// ErrTooLarge refuses a message above 32 MiB.
	ErrTooLarge = &Sentinel{"too_large", "the message is larger than 32 MiB"}
	// ErrNoMethod answers a call to a method that the node does not have.
	ErrNoMethod = &Sentinel{"no_method", "the node has no such method"}
	// ErrUnknownMember answers for a node id that this cluster does not know.
	ErrUnknownMember = &Sentinel{"unknown_member", "no member has this id"}
	// ErrUnsafe refuses a removal that would leave the voters without a reachable majority.
	ErrUnsafe = &Sentinel{"unsafe", "this would leave the cluster without a reachable majority"}
	// ErrNoSuccessor refuses a transfer of leadership: no other voter answers and has most of the log, or none that suits.
	ErrNoSuccessor = &Sentinel{"no_successor", "no other voting node is up and near enough to lead"}
	// ErrRemoved makes Open fail, or is passed to Fatal: the node was taken out of the cluster.
	ErrRemoved = &Sentinel{"removed", "this node was removed from the cluster"}
	// ErrClosed answers calls after Close.
	ErrClosed = &Sentinel{"closed", "the cluster is closed"}
	// ErrInternal is the code of an error that has none of its own.
	ErrInternal = &Sentinel{"internal", "internal error"}
)

// RemoteError is an error that a handler on another node returned.
type RemoteError struct {
	code    string // the handler's, or that of ErrInternal
	message string // the handler's
}

// Error returns the handler's message.
func (e *RemoteError) Error() string { return e.message }

// Code returns the handler's code.
func (e *RemoteError) Code() string { return e.code }

// Is reports whether target has the code of e.
func (e *RemoteError) Is(target error) bool {
	coded, ok := target.(interface{ Code() string })
	return ok && coded.Code() == e.code
}

// codeOf returns the code that err takes across the wire.
func codeOf(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return ErrInternal.code
}

// unknown marks err as ambiguous, whatever else it is.
func unknown(doing string, err error) error {
	return fmt.Errorf("%s: %w: %w", doing, ErrUnknown, err)
}
