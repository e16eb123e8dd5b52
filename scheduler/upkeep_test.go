package scheduler

import (
	"testing"
	"time"

	"pytasks/fsm"
)

// TestTermPurgesAudit: the audit log is bounded by age and by the bytes of its larger class,
// and left alone otherwise.
func TestTermPurgesAudit(t *testing.T) {
	for name, c := range map[string]struct {
		cfg         Config
		admin, jobs int // records that are kept
	}{
		"by age":       {Config{KeepAudit: time.Minute}, 0, 0},
		"by bytes":     {Config{MaxAuditBytes: 200}, 1, 3},
		"not yet":      {Config{KeepAudit: time.Hour, MaxAuditBytes: 1 << 20}, 1, 10},
		"never at all": {Config{}, 1, 10},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, c.cfg, []uint32{1}, func(t *testing.T, r *reign) {
				ask := func(cmd *fsm.Command) {
					cmd.Actor = &fsm.Actor{Sub: "ann", Addr: "10.0.0.1"}
					r.do(cmd)
				}
				ask(&fsm.Command{Kind: &fsm.Command_UserPut{UserPut: &fsm.UserPut{Name: "bob", PasswordHash: "x"}}})
				for range 10 {
					ask(&fsm.Command{Kind: &fsm.Command_Cancel{Cancel: &fsm.Cancel{Id: "a task of which nobody knows"}}})
				}
				r.beatFor(70*time.Second, 1)
				admin, jobs := 0, 0
				err := r.state.EachAudit(0, func(a fsm.AuditRecord) error {
					if a.Action == 5 {
						jobs++
					} else {
						admin++
					}
					return nil
				})
				if err != nil || admin != c.admin || jobs != c.jobs {
					t.Errorf("%d and %d records are kept, %v; want %d and %d", admin, jobs, err, c.admin, c.jobs)
				}
				before := r.cluster.count(isPurge)
				if (before > 0) != (c.jobs < 10) {
					t.Errorf("%d purges", before)
				}
				r.beatFor(time.Minute, 1)
				if got := r.cluster.count(isPurge); got != before {
					t.Errorf("%d more purges with nothing to forget", got-before)
				}
			})
		})
	}
}
