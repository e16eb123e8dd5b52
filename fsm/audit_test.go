package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// audits returns the audit log behind an index.
func (m *machine) audits(after uint64) (out []AuditRecord) {
	m.t.Helper()
	err := m.EachAudit(after, func(r AuditRecord) error { out = append(out, r); return nil })
	if err != nil {
		m.t.Fatalf("EachAudit(%d): %v", after, err)
	}
	return out
}

// TestAudit checks what the audit log says of each command, refused or not.
func TestAudit(t *testing.T) {
	m := newCluster(t)
	m.ok(packPut("q", "1"), userPut("old", create, scopes("admin")), submit(task(50), task(51), task(52, at(place(1, 1)))), keyed("once", "h", 1e6, task(60)))
	rotation := &Rotation{From: "s1", To: "s2", Sealed: []byte("sealed-secret"), Phase: 1}
	long := strings.Repeat("n", 300)
	id := func(i int) string { return k(i).String() }
	gone := k(99)
	for _, tt := range []struct {
		cmd  *Command
		want *Audit
	}{
		{submit(task(1, typed("p.f")), task(2, typed("p.g"))), &Audit{Action: 1, Target: id(1), Count: 2, Detail: "p.f"}},
		{submit(task(3, named("mine"))), &Audit{Action: 1, Target: "mine", Count: 1, Detail: "p.f"}},
		{submit(task(4, named("mine"), typed("p.g"))), &Audit{Action: 1, Code: Code_ID_TAKEN, Target: "mine", Count: 1, Detail: "p.g"}},
		{submit(task(5, released("9"))), &Audit{Action: 1, Code: Code_NO_PACK, Target: id(5), Count: 1, Detail: "p.f"}},
		{submit(task(6, named(long))), &Audit{Action: 1, Target: long[:255] + "...", Count: 1, Detail: "p.f"}},
		{submit(&New{Key: []byte("short")}), &Audit{Action: 1, Code: Code_MISFIT, Count: 1}},
		{submit(), &Audit{Action: 1}},
		{assign(k(50), 1, place(1, 1)), &Audit{Action: 2, Target: id(50)}},
		{finish(gone, 1, `"result"`), &Audit{Action: 3, Code: Code_NOT_FOUND, Target: id(99)}},
		{release(k(50), 1, ReasonDrain), &Audit{Action: 4, Target: id(50), Detail: "drain"}},
		{cancel("mine"), &Audit{Action: 5, Target: "mine"}},
		{cancel("none"), &Audit{Action: 5, Code: Code_NOT_FOUND, Target: "none"}},
		{tick(1), &Audit{Action: 6}},
		{purge(forgetNothing()), &Audit{Action: 7}},
		{up("id9", "omega", 1), &Audit{Action: 8, Target: "omega"}},
		{down(place(3, 1), "left", true), &Audit{Action: 9, Target: "omega", Detail: "removed"}},
		{down(place(7, 1), "left", false), &Audit{Action: 9, Code: Code_NOT_FOUND, Target: "7", Detail: "left"}},
		{drain(place(1, 1), true), &Audit{Action: 10, Target: "alpha", Detail: "drain"}},
		{drain(place(1, 1), false), &Audit{Action: 10, Target: "alpha", Detail: "resume"}},
		{packPut("q", "2"), &Audit{Action: 11, Target: "q", Detail: "2"}},
		{packUse("q", "9"), &Audit{Action: 12, Code: Code_NOT_FOUND, Target: "q", Detail: "9"}},
		{packRemove(&PackRemove{Name: "q", Release: "1"}), &Audit{Action: 13, Target: "q", Detail: "1"}},
		{nodePacks(place(1, 1), "q"), &Audit{Action: 14, Target: "alpha"}},
		{userPut("ann", create, hashed("secret-hash")), &Audit{Action: 15, Target: "ann", Detail: "created"}},
		{userPut("ann", hashed("secret-hash2"), keepRights), &Audit{Action: 15, Target: "ann", Detail: "password"}},
		{userPut("ann", hashed(""), scopes("x")), &Audit{Action: 15, Target: "ann", Detail: "rights"}},
		{userPut("ann", hashed("secret-hash3")), &Audit{Action: 15, Target: "ann", Detail: "password, rights"}},
		{userPut("ann", hashed("secret-hash3")), &Audit{Action: 15, Target: "ann"}},
		{userPut("a b"), &Audit{Action: 15, Code: Code_MISFIT, Target: "a b"}},
		{userPut("old", hashed(""), scopes()), &Audit{Action: 15, Code: Code_LAST_ADMIN, Target: "old", Detail: "rights"}},
		{userRemove("ann"), &Audit{Action: 16, Target: "ann"}},
		{keysPut(0, "k1", "k2"), &Audit{Action: 17, Target: "k1", Count: 2, Detail: "EdDSA"}},
		{keysPut(0), &Audit{Action: 17, Code: Code_MISFIT}},
		{secretPut(0, rotation), &Audit{Action: 18, Target: "s2", Detail: "phase 1"}},
		{secretPut(1, nil), &Audit{Action: 18, Code: Code_CONFLICT, Detail: "over"}},
	} {
		m.do(by("root", tt.cmd))
		tt.want.Sub, tt.want.Addr = "root", "10.0.0.1"
		got := m.audits(m.index - 1)
		if len(got) != 1 || got[0].Index != m.index || got[0].TimeMs != m.clock || !proto.Equal(got[0].Audit, tt.want) {
			t.Errorf("%v is noted as\n  %v, want\n  %v", tt.cmd, got, tt.want)
		}
	}
	m.do(by("root", secretPut(m.Rotation().Version, nil)), submit(task(70)), by("ann", keyed("once", "h", 1e6, task(71))), by("ann", keyed("once", "h", 1e6, task(72))),
		by(strings.Repeat("s", 65), userPut("x")))
	got := m.audits(m.index - 1)
	for i, want := range []*Audit{
		{Sub: "root", Action: 18, Target: "s2", Detail: "over"},
		{Sub: "ann", Action: 1, Target: id(71), Count: 1, Detail: "p.f", Number: 2},
		{Sub: "ann", Action: 1, Target: id(71), Count: 1, Detail: "p.f", Number: 3}, // what it was answered
		{Sub: strings.Repeat("s", 65), Action: 15, Code: Code_MISFIT, Target: "x", Number: 4},
	} {
		if want.Addr = "10.0.0.1"; i >= len(got) || !proto.Equal(got[i].Audit, want) {
			t.Errorf("record %d of the entry is not %v: %v", i, want, got)
		}
	}
	for key, val := range storeRecords(t, m.State)[string(bucketAudit)] {
		for _, secret := range []string{"secret", `"x"`, "result"} {
			if strings.Contains(val, secret) {
				t.Errorf("the audit log has a secret, %q, in %x", secret, key)
			}
		}
	}
}

// TestAuditOfNothing checks that an entry which changed nothing, because all of it was
// refused, is noted for good.
func TestAuditOfNothing(t *testing.T) {
	dir := t.TempDir()
	m := openMachine(t, dir)
	still(m.State)
	m.gives(Code_NOT_FOUND, by("ann", userRemove("bob")))
	if m.active.since.IsZero() {
		t.Error("nothing will write it")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMachine(t, dir)
	defer m.Close()
	if got := m.audits(0); len(got) != 1 || got[0].Target != "bob" {
		t.Errorf("the audit log is %v", got)
	}
}

// TestEachAudit walks a log that is larger than a page, while it is written and purged.
func TestEachAudit(t *testing.T) {
	m := newCluster(t)
	type at struct {
		index  uint64
		number uint32
	}
	var want []at
	name := strings.Repeat("n", 200)
	for i := range 60 {
		var cmds []*Command
		for j := range 40 {
			c := submit(task(40*i+j+1, typed(name)))
			if j%7 == 3 {
				c = userPut(fmt.Sprint("u", j))
			}
			if j%5 == 1 {
				c = tick(0)
			} else {
				c = by("ann", c)
				want = append(want, at{m.index + 1, uint32(j)})
			}
			cmds = append(cmds, c)
		}
		m.do(cmds...)
		if i%10 == 7 {
			m.mustFlush()
		}
	}
	last := m.index
	var got []at
	read := func(after uint64, out func(i int) error) error {
		t.Helper()
		got = nil
		return m.EachAudit(after, func(r AuditRecord) error {
			got = append(got, at{r.Index, r.Number})
			return out(len(got))
		})
	}
	everything := func(int) error { return nil }
	if err := read(0, everything); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d records, %v; want %d in order", len(got), err, len(want))
	}
	after := slices.IndexFunc(want, func(a at) bool { return a.index > last-20 })
	if err := read(last-20, everything); err != nil || !slices.Equal(got, want[after:]) {
		t.Errorf("behind %d there are %d records, %v; want %d", last-20, len(got), err, len(want)-after)
	}
	for _, none := range []uint64{last, last + 1, math.MaxUint64} {
		if err := read(none, everything); err != nil || len(got) != 0 {
			t.Errorf("behind %d there are %d records, %v", none, len(got), err)
		}
	}
	stop := errors.New("enough")
	if err := read(0, func(i int) error { return map[bool]error{true: stop}[i == 3] }); !errors.Is(err, stop) || len(got) != 3 {
		t.Errorf("%d records, %v; want 3 and %v", len(got), err, stop)
	}
	p := forgetNothing()
	p.AuditBeforeMs = math.MaxInt64
	err := read(0, func(i int) error {
		if n := m.db.Stats().OpenTxN; n != 0 {
			t.Fatalf("%d transactions are open while a reader takes its time", n)
		}
		if i == 1 {
			m.ok(by("ann", purge(p)))
			m.mustFlush()
		}
		return nil
	})
	if n := len(got); err != nil || n == 0 || n == len(want) || !slices.Equal(got, want[:n]) {
		t.Errorf("%d of %d records, %v; want those of a page", n, len(want), err)
	}
	if err := read(0, everything); err != nil || !slices.Equal(got, []at{{last + 1, 0}}) {
		t.Errorf("after the purge there are %v, %v; want that of the purge", got, err)
	}
}

// TestAuditPurge checks which records are forgotten, of each class by itself.
func TestAuditPurge(t *testing.T) {
	const start = startClock
	for name, tt := range map[string]struct {
		lower func(p *Purge, size uint64) // size of what one entry did
		admin []uint64
		tasks []uint64
	}{
		"nothing":          {func(*Purge, uint64) {}, []uint64{1, 3}, []uint64{2, 4, 5, 6}},
		"age":              {func(p *Purge, _ uint64) { p.AuditBeforeMs = start + 4000 }, nil, []uint64{5, 6}},
		"age, all":         {func(p *Purge, _ uint64) { p.AuditBeforeMs = math.MaxInt64 }, nil, nil},
		"bytes":            {func(p *Purge, size uint64) { p.MaxAuditBytes = 2 * size }, []uint64{1, 3}, []uint64{5, 6}},
		"bytes, one short": {func(p *Purge, size uint64) { p.MaxAuditBytes = 2*size - 1 }, []uint64{3}, []uint64{6}},
		"limit":            {func(p *Purge, _ uint64) { p.AuditBeforeMs, p.Limit = math.MaxInt64, 1 }, []uint64{3}, []uint64{4, 5, 6}},
		"limit 0":          {func(p *Purge, _ uint64) { p.AuditBeforeMs, p.Limit = math.MaxInt64, 0 }, []uint64{1, 3}, []uint64{2, 4, 5, 6}},
		"others' limits":   {func(p *Purge, _ uint64) { p.FinishedBeforeMs, p.MaxCount, p.MaxBytes = math.MaxInt64, 0, 0 }, []uint64{1, 3}, []uint64{2, 4, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := openMachine(t, dir)
			defer func() { _ = m.Close() }()
			for _, c := range []*Command{userRemove("1234"), cancel("1234"), userRemove("1234"), cancel("1234"), cancel("1234"), cancel("1234")} {
				m.do(by("ann", c))
				m.clock += 1000
			}
			_, tasks := m.AuditKept() // four entries
			p := forgetNothing()
			tt.lower(p, uint64(tasks/4))
			for _, when := range []string{"once", "twice", "after a start"} {
				if when == "after a start" {
					if err := m.Close(); err != nil {
						t.Fatal(err)
					}
					m = openMachine(t, dir)
				} else if when == "once" || name != "limit" { // it would forget two more
					m.ok(purge(p))
				}
				var admins, tasks []uint64
				for _, r := range m.audits(0) {
					if r.Action == 5 {
						tasks = append(tasks, r.Index)
					} else {
						admins = append(admins, r.Index)
					}
				}
				if !slices.Equal(admins, tt.admin) || !slices.Equal(tasks, tt.tasks) {
					t.Fatalf("%s: kept %v and %v, want %v and %v", when, admins, tasks, tt.admin, tt.tasks)
				}
				oldest, size := m.AuditKept()
				first := slices.Min(append(slices.Concat(admins, tasks), 99))
				if want := start + 1000*int64(first-1); first < 99 && oldest != want || first == 99 && oldest != 0 {
					t.Errorf("%s: the oldest is of %d, want that of entry %d", when, oldest, first)
				}
				sizes := [2]int64{}
				for key, val := range storeRecords(t, m.State)[string(bucketAudit)] {
					sizes[key[0]] += int64(len(val))
				}
				if sizes != m.auditBytes || size != max(sizes[0], sizes[1]) {
					t.Errorf("%s: counted as %v and %d bytes, they are %v", when, m.auditBytes, size, sizes)
				}
			}
		})
	}
}

// TestAuditPurgeInAnEntry checks that the second Purge of an entry goes on where the first
// ended, and that what the entry itself did stays.
func TestAuditPurgeInAnEntry(t *testing.T) {
	m := newMachine(t)
	for range 4 {
		m.ok(by("ann", userPut("bob")), by("ann", submit()))
	}
	p := forgetNothing()
	p.AuditBeforeMs, p.Limit = math.MaxInt64, 1
	m.do(by("ann", cancel("x")), by("ann", purge(p)), by("ann", purge(p)), by("ann", userPut("eve")))
	var got []string
	for _, r := range m.audits(0) {
		got = append(got, fmt.Sprint(r.Index, "/", r.Action))
	}
	if want := "[5/15 6/1 7/15 8/1 9/5 9/7 9/7 9/15]"; fmt.Sprint(got) != want {
		t.Errorf("kept %v, want %s", got, want)
	}
}

// TestAuditFlood checks that submissions do not push out administration.
func TestAuditFlood(t *testing.T) {
	m := newMachine(t)
	m.ok(by("root", userPut("ann")))
	for i := range 200 {
		m.do(by("ann", submit(task(i+1))), by("ann", cancel(k(i+1).String())))
	}
	p := forgetNothing()
	p.MaxAuditBytes = 500
	m.ok(purge(p))
	got := m.audits(0)
	if len(got) < 2 || len(got) > 20 || got[0].Target != "ann" {
		t.Errorf("kept %v", got)
	}
	if _, size := m.AuditKept(); size > 500 {
		t.Errorf("kept %d bytes, want 500 at most", size)
	}
}

// TestAuditDigest checks that the audit log is a part of the state: two states that differ in
// it alone have other snapshots.
func TestAuditDigest(t *testing.T) {
	var snaps [][]byte
	for _, c := range []*Command{tick(1), by("ann", tick(1)), by("bob", tick(1))} {
		m := newMachine(t)
		m.ok(c)
		snap := snapshotBytes(t, m.State)
		if slices.ContainsFunc(snaps, func(other []byte) bool { return bytes.Equal(snap, other) }) {
			t.Errorf("after %v the snapshot is one of another audit log", c)
		}
		snaps = append(snaps, snap)
	}
}
