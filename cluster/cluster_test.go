package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestThreeNodesReplicate(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	for i := range 20 {
		propose(t, lead, fmt.Sprint("entry ", i))
	}
	waitEntry(t, nodes, "entry 19")

	follower := followers(nodes, lead)[0]
	if _, _, err := follower.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Propose on a follower: got %v, want %v", err, ErrNotLeader)
	}
	got, err := follower.CallLeader(t.Context(), "propose", []byte("forwarded"))
	if err != nil || string(got) != "21 true" {
		t.Errorf("CallLeader: got %q, %v, want the 21st entry", got, err)
	}
	waitEntry(t, nodes, "forwarded")
}

func TestNewLeaderAfterTheOldOneStops(t *testing.T) {
	nodes := trio(t)
	old := leader(t, nodes)
	propose(t, old, "before")
	rest := followers(nodes, old)
	old.Close()
	next := leader(t, rest)
	propose(t, next, "after")
	waitEntry(t, rest, "before")
	waitEntry(t, rest, "after")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := old.Propose(ctx, []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Propose after Close: got %v, want %v", err, ErrClosed)
	}
}
