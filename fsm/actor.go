package fsm

import (
	"context"
	"strings"
)

// maxUserName bounds the names of users, in bytes.
const maxUserName = 64

type actorKey struct{}

// WithActor returns a context whose commands are asked for by a: what is written under it
// by a Queue is noted in the audit log, and tasks are owned by a.Sub. Nil is the cluster
// itself, of which nothing is noted.
func WithActor(ctx context.Context, a *Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf returns who asks for what is written under a context, nil for the cluster itself.
func ActorOf(ctx context.Context) *Actor {
	a, _ := ctx.Value(actorKey{}).(*Actor)
	return a
}

// owner returns whom the tasks of a Submit belong to. It shares no memory with the log entry.
func (a *applier) owner() string {
	sub := a.actor.GetSub()
	if u := a.users[sub]; u != nil {
		return u.Name
	}
	return strings.Clone(sub)
}

// ownKey returns what an Idempotency-Key of the actor is remembered by. Two users who choose
// the same do not meet; neither names nor keys have a zero byte.
func (a *applier) ownKey(key string) string {
	if sub := a.actor.GetSub(); sub != "" && key != "" {
		return sub + "\x00" + key
	}
	return key
}
