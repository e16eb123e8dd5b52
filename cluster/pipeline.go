package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// raftTransport is raft's transport with pipelines that end at the first refusal. Raft reads no answer after one, but
// may still be sending: with nobody to take the answers that send waits for ever. The follower then gets heartbeats and
// no entries, and Shutdown waits for the sender.
type raftTransport struct{ *raft.NetworkTransport }

// AppendEntriesPipeline opens a pipeline to a follower.
func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go p.forward() // ends with Close, which raft calls for each pipeline
	return p, nil
}

// pipeline passes the answers on, so that it sees the refusal.
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
}

// Consumer returns the channel of the answers.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close ends the pipeline. It is safe to call twice.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}

func (p *pipeline) forward() {
	for {
		select {
		case answer := <-p.AppendPipeline.Consumer():
			refused := !answer.Response().Success // a later term and a failed exchange look the same
			select {
			case p.answers <- answer:
			case <-p.closed:
				return
			}
			if refused {
				p.AppendPipeline.Close() // wakes the sender, with an error
				return
			}
		case <-p.closed:
			return
		}
	}
}
