package scheduler

import (
	"context"

	"pytasks/fsm"
	"pytasks/node/failpoint"
)

// purgeLimit is how many finished tasks one entry forgets, and how many audit records, of
// which those of a log entry are one.
const purgeLimit = 5000

// upkeep does what time asks for: it gives up silent nodes, forgets what need not be
// kept, and goes on with what others began and may have left.
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
			failpoint.Point("scheduler.purge.before")
			if _, err := t.do(ctx, []*fsm.Command{{Kind: &fsm.Command_Purge{Purge: p}}}); err != nil {
				t.log.Debug("purge failed", "err", err)
			}
		})
	}
	if r := t.halfRemoved(); r != nil && t.removing.CompareAndSwap(false, true) {
		t.wg.Go(func() {
			defer t.removing.Store(false)
			if _, err := t.do(ctx, []*fsm.Command{{Kind: &fsm.Command_PackRemove{PackRemove: r}}}); err != nil {
				t.log.Debug("removal of a pack failed", "pack", r.Name, "err", err)
			}
		})
	}
}

// halfRemoved returns the next step of a removal that is not done yet, nil if there is
// none. Who began it may be gone.
func (t *term) halfRemoved() *fsm.PackRemove {
	for _, p := range t.cfg.State.Packs() {
		for _, r := range p.Releases {
			if r.Removing {
				return &fsm.PackRemove{Name: p.Name, Release: r.Release, Force: true, Limit: fsm.RemoveLimit, Resume: true}
			}
		}
	}
	return nil
}

// overdue returns what is to be forgotten now, nil if nothing is.
func (t *term) overdue() *fsm.Purge {
	now := t.clock.now()
	before := now - t.cfg.KeepFinished.Milliseconds()
	c := t.cfg.State.Counts()
	finished, key := t.cfg.State.Oldest()
	noted, noteBytes := t.cfg.State.AuditKept()
	noteBefore := int64(0)
	if t.cfg.KeepAudit > 0 {
		noteBefore = now - t.cfg.KeepAudit.Milliseconds()
	}
	if c.Finished <= t.cfg.MaxFinished && c.FinishedBytes <= t.cfg.MaxFinishedBytes &&
		(finished == 0 || finished >= before) && (key == 0 || key > now) &&
		(noted == 0 || noted >= noteBefore) && (t.cfg.MaxAuditBytes == 0 || noteBytes <= t.cfg.MaxAuditBytes) {
		return nil
	}
	return &fsm.Purge{
		FinishedBeforeMs: before, MaxCount: uint64(t.cfg.MaxFinished), MaxBytes: uint64(t.cfg.MaxFinishedBytes), Limit: purgeLimit,
		AuditBeforeMs: noteBefore, MaxAuditBytes: uint64(t.cfg.MaxAuditBytes),
	}
}
