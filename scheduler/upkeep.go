package scheduler

import (
	"context"

	"pytasks/fsm"
)

// purgeLimit is how many finished tasks one entry forgets.
const purgeLimit = 5000

// upkeep does what time asks for: it gives up silent nodes and forgets what need
// not be kept.
func (t *term) upkeep(ctx context.Context) {
	for _, n := range t.workers.lapsed() {
		t.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			t.giveUp(ctx, n, "silent for "+t.cfg.Lease.String())
		})
	}
	if p := t.overdue(); p != nil && t.purging.CompareAndSwap(false, true) {
		t.wg.Go(func() {
			defer t.purging.Store(false)
			if _, err := t.do(ctx, []*fsm.Command{{Kind: &fsm.Command_Purge{Purge: p}}}); err != nil {
				t.log.Debug("purge failed", "err", err)
			}
		})
	}
}

// overdue returns what is to be forgotten now, nil if nothing is.
func (t *term) overdue() *fsm.Purge {
	now := t.cfg.Now()
	before := now.Add(-t.cfg.KeepFinished).UnixMilli()
	c := t.cfg.State.Counts()
	finished, key := t.cfg.State.Oldest()
	if c.Finished <= t.cfg.MaxFinished && c.FinishedBytes <= t.cfg.MaxFinishedBytes &&
		(finished == 0 || finished >= before) && (key == 0 || key > now.UnixMilli()) {
		return nil
	}
	return &fsm.Purge{
		FinishedBeforeMs: before, MaxCount: uint64(t.cfg.MaxFinished), MaxBytes: uint64(t.cfg.MaxFinishedBytes), Limit: purgeLimit,
	}
}
