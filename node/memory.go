package node

import (
	"context"
	"time"
)

// trimEvery is how often the stores' mapped pages are looked at.
const trimEvery = 2 * time.Second

// watchMemory keeps the stores' mapped pages from piling up in this process. The
// kernel has them cached all the same.
func (n *Node) watchMemory(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := n.state.Trim(); err != nil {
				n.log.Debug("mapped pages not released", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
