package cluster

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pytasks/cluster/simnet"
)

// plainStream is a raft.StreamLayer without hellos.
type plainStream struct {
	net.Listener
	host *simnet.Host
}

func (s plainStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.host.Dial(ctx, string(addr))
}

// openPipeline opens a pipeline to a follower that gives the answers of a function.
func openPipeline(t *testing.T, success func(*raft.AppendEntriesRequest) bool) raft.AppendPipeline {
	t.Helper()
	n := simnet.New(1)
	transport := func(ip string) *raft.NetworkTransport {
		host := n.Host(ip)
		l, err := host.Listen(ip + ":1")
		if err != nil {
			t.Fatal(err)
		}
		trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: plainStream{l, host}, MaxPool: 1, Timeout: raftTimeout, Logger: hclog.NewNullLogger(),
		})
		t.Cleanup(func() {
			trans.Close()
			host.Crash()
		})
		return trans
	}
	leader, follower := transport("10.0.0.1"), transport("10.0.0.2")
	done := make(chan struct{})
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				req := rpc.Command.(*raft.AppendEntriesRequest)
				rpc.Respond(&raft.AppendEntriesResponse{LastLog: req.PrevLogEntry, Success: success(req)}, nil)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done) })
	p, err := raftTransport{leader}.AppendEntriesPipeline("follower", "10.0.0.2:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		p.Close()
	})
	return p
}

func appendAt(p raft.AppendPipeline, index uint64) error {
	_, err := p.AppendEntries(&raft.AppendEntriesRequest{PrevLogEntry: index}, &raft.AppendEntriesResponse{})
	return err
}

func TestPipelinePassesAnswersOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPipeline(t, func(*raft.AppendEntriesRequest) bool { return true })
		go func() {
			for i := range uint64(1000) {
				if err := appendAt(p, i); err != nil {
					t.Errorf("send %d: %v", i, err)
				}
			}
		}()
		for i := range uint64(1000) {
			answer := <-p.Consumer()
			if got := answer.Response(); !got.Success || got.LastLog != i {
				t.Fatalf("answer %d: got %+v", i, got)
			}
		}
	})
}

// TestPipelineEndsWithRefusal: raft reads no answer after a refusal but may go on to send. Such a send must fail rather
// than wait for ever.
func TestPipelineEndsWithRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPipeline(t, func(*raft.AppendEntriesRequest) bool { return false })
		if err := appendAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if answer := <-p.Consumer(); answer.Response().Success {
			t.Fatal("got a success, want a refusal")
		}
		for i := range uint64(10) {
			if appendAt(p, i+1) != nil {
				return
			}
		}
		t.Error("a refused pipeline takes entries")
	})
}

// TestPipelineCloseWakesSender covers a pipeline that nobody reads and that is closed.
func TestPipelineCloseWakesSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPipeline(t, func(*raft.AppendEntriesRequest) bool { return true })
		ended := make(chan error)
		go func() {
			for i := uint64(0); ; i++ {
				if err := appendAt(p, i); err != nil {
					ended <- err
					return
				}
			}
		}()
		synctest.Wait()
		p.Close()
		<-ended
	})
}
