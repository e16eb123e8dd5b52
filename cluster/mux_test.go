package cluster

import (
	"fmt"
	"net"
	"testing"
)

// TestTrustHandshakes: connections that say nothing are bounded, the oldest has to go, and members get through all the same.
func TestTrustHandshakes(t *testing.T) {
	nodes := []*testNode{open(t, config(t, "a"))}
	leader(t, nodes)
	_, addr := nodes[0].Addrs()
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	full := make(chan struct{})
	go func() { // the port is never without as many silent connections as it holds
		defer close(stopped)
		var silent []net.Conn
		for {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if silent = append(silent, conn); len(silent) < 2*maxShaking {
				continue
			} else if len(silent) == 2*maxShaking {
				close(full)
			}
			ended := make(chan struct{})
			go func() {
				silent[len(silent)-maxShaking].Read(make([]byte, 1))
				close(ended)
			}()
			select {
			case <-ended:
			case <-stop:
				return
			}
		}
	}()
	<-full
	for len(nodes) < 3 { // each of them dials the leader, and is dialled by it
		nodes = append(nodes, joining(t, nodes, fmt.Sprint("b", len(nodes))))
	}
	waitVoters(t, nodes, 3)
	nodes[0].lobby.mu.Lock()
	defer nodes[0].lobby.mu.Unlock()
	if n := len(nodes[0].lobby.conns); n > maxShaking {
		t.Errorf("%d connections are in their handshake, want %d at most", n, maxShaking)
	}
}

// TestLobby: who has waited longest goes, who has left is forgotten.
func TestLobby(t *testing.T) {
	var l lobby
	conns := make([]*closable, maxShaking+2)
	for i := range conns {
		conns[i] = &closable{}
		l.enter(conns[i])
		if i == 1 {
			l.leave(conns[0])
		}
	}
	for i, conn := range conns {
		if want := i == 1; conn.closed != want {
			t.Errorf("connection %d closed: %v, want %v", i, conn.closed, want)
		}
	}
	if len(l.conns) != maxShaking {
		t.Errorf("%d connections are kept, want %d", len(l.conns), maxShaking)
	}
}

type closable struct {
	net.Conn
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}
