package fsm

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// Few of each, so that commands meet.
const (
	drawnKeys  = 16
	drawnNodes = 3
	// drawnReleases is more than are kept.
	drawnReleases = 8
)

// drawCommand draws a command, half of them with somebody who asks for it.
func drawCommand(rt *rapid.T, m *model) *Command {
	c := drawKind(rt, m)
	c.Actor = rapid.SampledFrom([]*Actor{
		nil, nil, nil, nil, {Sub: "ann", Addr: "10.0.0.1"}, {Sub: "ann", Addr: "10.0.0.1"}, {Sub: "bob"}, {Addr: "::1"},
		{Sub: strings.Repeat("s", 65)},
	}).Draw(rt, "actor")
	return c
}

// drawKind draws a command that fits what the model holds more often than not.
func drawKind(rt *rapid.T, m *model) *Command {
	reason := rapid.SampledFrom([]string{ReasonWorkerLost, ReasonWorkerLost, ReasonWorkerLost, ReasonDrain, ReasonNotStarted})
	kinds := []int{1, 3, 2, 1, 3, 2, 1, 3, 2, 1, 3, 2, 2, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 11, 11, 12, 13, 13, 14, 15, 15, 16, 17, 18, 18, 19}
	switch rapid.SampledFrom(kinds).Draw(rt, "command") {
	case 1:
		return drawSubmit(rt, m)
	case 2:
		key, attempt := drawTask(rt, m, Status_PENDING, Status_SCHEDULED, Status_RETRY)
		return assign(key, attempt+1, drawPlace(rt, m))
	case 3:
		key, attempt := drawTask(rt, m, Status_STARTED)
		if rapid.Bool().Draw(rt, "success") {
			return finish(key, attempt, "3", logged(drawLog(rt)), func(f *Finish) {
				if f.ResultBlob = drawBlob(rt); f.ResultBlob != nil {
					f.Result = nil
				}
			})
		}
		return fail(key, attempt, retryIn(rapid.Int64Range(-1, 400).Draw(rt, "retry in")), func(f *Finish) {
			f.Permanent = rapid.IntRange(0, 5).Draw(rt, "permanent") == 5
			f.Log = drawLog(rt)
		})
	case 4:
		key, attempt := drawTask(rt, m, Status_STARTED)
		return release(key, attempt, reason.Draw(rt, "reason"))
	case 5:
		key, _ := drawTask(rt, m, Status_PENDING, Status_SCHEDULED, Status_RETRY, Status_STARTED)
		return cancel(rapid.SampledFrom([]string{key.String(), key.String(), "a", "b", "none"}).Draw(rt, "id"))
	case 6:
		return tick(rapid.Uint32Range(0, 4).Draw(rt, "limit"))
	case 7:
		return purge(&Purge{
			FinishedBeforeMs: m.now - rapid.Int64Range(0, 2000).Draw(rt, "age"),
			MaxCount:         rapid.Uint64Range(0, 6).Draw(rt, "count"), MaxBytes: rapid.Uint64Range(0, 600).Draw(rt, "bytes"),
			Limit:         rapid.Uint32Range(0, 5).Draw(rt, "limit"),
			AuditBeforeMs: m.now - rapid.Int64Range(0, 20_000).Draw(rt, "audit age"),
			MaxAuditBytes: rapid.SampledFrom([]uint64{0, 0, 100, 1000}).Draw(rt, "audit bytes"),
		})
	case 8:
		return drawUp(rt, m)
	case 9:
		return down(drawPlace(rt, m), reason.Draw(rt, "reason"), rapid.IntRange(0, 3).Draw(rt, "forget") == 3)
	case 10:
		c := drain(drawPlace(rt, m), rapid.IntRange(0, 3).Draw(rt, "draining") == 3)
		if d := c.GetNodeDrain(); rapid.Bool().Draw(rt, "until resumed") {
			d.UntilResumed, d.TimeoutMs = true, rapid.Int64Range(0, 2).Draw(rt, "drain timeout")*1000
			d.Force = rapid.Bool().Draw(rt, "force")
		}
		return c
	case 11:
		name := rapid.SampledFrom([]string{"p", "p", "p", "p", "q", "p.f", "p@1", ""}).Draw(rt, "pack")
		release := fmt.Sprint(rapid.IntRange(1, drawnReleases).Draw(rt, "release"))
		digest := rapid.SampledFrom([]string{"", "", "", "", "", "", "", "other"}).Draw(rt, "digest")
		return packPut(name, release, func(p *PackPut) { p.Digest = digestOf(release + digest) })
	case 12:
		name, release := drawRelease(rt, m)
		return packUse(name, release)
	case 13:
		name, release := drawRelease(rt, m)
		return packRemove(&PackRemove{
			Name: name, Release: rapid.SampledFrom([]string{release, release, release, ""}).Draw(rt, "release or all"),
			Force: rapid.Bool().Draw(rt, "force"), Limit: rapid.Uint32Range(0, 3).Draw(rt, "limit"),
			Resume: rapid.IntRange(0, 2).Draw(rt, "resume") == 2,
		})
	case 15:
		return drawUserPut(rt)
	case 16:
		return userRemove(rapid.SampledFrom(drawnUsers).Draw(rt, "user"))
	case 17:
		version := rapid.SampledFrom([]uint64{m.signing.GetVersion(), m.signing.GetVersion(), 0, m.index + 9}).Draw(rt, "version")
		ids := rapid.SampledFrom([]string{"a", "b", "ba", "", "abcdefghi"}).Draw(rt, "keys")
		return keysPut(version, strings.Split(ids, "")...)
	case 18:
		version := rapid.SampledFrom([]uint64{m.rotation.GetVersion(), m.rotation.GetVersion(), 0, m.index + 9}).Draw(rt, "version")
		return secretPut(version, rapid.SampledFrom([]*Rotation{
			{From: "s1", To: "s2", Sealed: []byte("s2"), Phase: 1}, {From: "s1", To: "s2", Sealed: []byte("s2"), Phase: 2}, nil,
			{From: "s1", To: "s3", Sealed: []byte("s3"), Phase: 1}, {From: "s1", Phase: 1},
		}).Draw(rt, "rotation"))
	case 19:
		return &Command{Kind: &Command_NodeLabel{&NodeLabel{
			Place: drawPlace(rt, m), Forget: rapid.IntRange(0, 3).Draw(rt, "reset") == 3,
			Labels: rapid.SampledFrom([][]*Label{
				{{Key: "zone", Value: "eu"}}, {{Key: "gpu", Value: "yes"}, {Key: "a", Value: "1"}}, {{Key: "zone", Removed: true}}, nil,
				{{Key: "", Value: "x"}}, {{Key: "zone"}},
			}).Draw(rt, "labels"),
		}}}
	default:
		return nodePacks(drawPlace(rt, m), rapid.SampledFrom([]string{"", "p", "p,p@1"}).Draw(rt, "manifest"))
	}
}

// drawnUsers are names of users; the last two no user may have.
var drawnUsers = []string{"ann", "ann", "ann", "bob", "bob", "c", "c d", ""}

func drawUserPut(rt *rapid.T) *Command {
	return userPut(rapid.SampledFrom(drawnUsers).Draw(rt, "user"), func(u *UserPut) {
		u.PasswordHash = rapid.SampledFrom([]string{"h1", "h2", ""}).Draw(rt, "hash")
		u.AllowedTasks = rapid.SampledFrom([][]string{nil, {"p.*", "q.f"}}).Draw(rt, "allowed tasks")
		u.Scopes = rapid.SampledFrom([][]string{{"admin"}, {"tasks:read", "admin"}, nil}).Draw(rt, "scopes")
		u.Create, u.KeepRights = rapid.Bool().Draw(rt, "create"), rapid.Bool().Draw(rt, "keep rights")
	})
}

// drawLog draws the log of an attempt: one that is too large for the index to hold the
// record in memory, and one that is cut.
func drawLog(rt *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 0, 0, 0, 5, 5, 5, maxRecordArgs, maxLog + 1}).Draw(rt, "log")
	return []byte(strings.Repeat("l", n))
}

// drawBlob draws one of a few blobs, most often none, and seldom one that may not be named.
func drawBlob(rt *rapid.T) *Blob {
	return rapid.SampledFrom([]*Blob{
		nil, nil, nil, nil, blobOf("a", 700), blobOf("b", 90), nil, blobOf("a", 700), nil, {Digest: []byte("short"), Size: 1}, blobOf("c", 0),
	}).Draw(rt, "blob")
}

// drawRelease draws a release that is installed more often than not.
func drawRelease(rt *rapid.T, m *model) (pack, release string) {
	pack = rapid.SampledFrom([]string{"p", "p", "p", "q"}).Draw(rt, "pack")
	releases := []string{"1", "none"}
	for _, r := range m.packs[pack].GetReleases() {
		releases = append(releases, r.Release, r.Release, r.Release)
	}
	slices.Reverse(releases) // rapid draws the first more often
	return pack, rapid.SampledFrom(releases).Draw(rt, "release")
}

// drawUp draws a start of a node: most often the one after the last, or the last again.
func drawUp(rt *rapid.T, m *model) *Command {
	n := rapid.IntRange(1, drawnNodes).Draw(rt, "node")
	id, name := fmt.Sprint("id", n), fmt.Sprint("name", n)
	last := uint64(1)
	for _, n := range m.nodes {
		if n.Id == id {
			last = n.Boot
		}
	}
	boots := []uint64{last, last, last + 1, last + 1, last - 1}
	names := []string{name, name, name, name, "name0"}
	c := up(id, rapid.SampledFrom(names).Draw(rt, "name"), rapid.SampledFrom(boots).Draw(rt, "boot"))
	c.GetNodeUp().Labels = rapid.SampledFrom([][]*Label{nil, nil, {{Key: "zone", Value: "us"}}}).Draw(rt, "labels")
	return c
}

// drawPlace draws the current start of a node, another start, or none.
func drawPlace(rt *rapid.T, m *model) *Place {
	places := []*Place{nil, place(1, 1), place(2, 2), place(9, 1)}
	for i := range len(m.nodes) {
		n := m.nodes[uint32(i)+1]
		for range 5 {
			places = append(places, place(n.Number, n.Boot))
		}
	}
	slices.Reverse(places) // rapid draws the first more often
	return rapid.SampledFrom(places).Draw(rt, "place")
}

// drawTask draws a task, most often one in these states, and its last attempt or
// another one.
func drawTask(rt *rapid.T, m *model, fit ...Status) (Key, uint32) {
	key := k(rapid.IntRange(1, drawnKeys+1).Draw(rt, "key")) // the last is never used
	var fitting []Key
	for i := range drawnKeys {
		if t := m.tasks[k(i+1)]; t != nil && slices.Contains(fit, t.Status) {
			fitting = append(fitting, k(i+1))
		}
	}
	if len(fitting) > 0 && rapid.IntRange(0, 9).Draw(rt, "fits") < 9 {
		key = rapid.SampledFrom(fitting).Draw(rt, "fitting key")
	}
	attempt := rapid.Uint32Range(0, 3).Draw(rt, "attempt")
	if t := m.tasks[key]; t != nil && rapid.IntRange(0, 9).Draw(rt, "last") < 9 {
		attempt = t.Attempt
	}
	return key, attempt
}

func drawSubmit(rt *rapid.T, m *model) *Command {
	tasks := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) *New { return drawNew(rt, m) }), 1, 3,
		func(n *New) string { return string(n.Key) }).Draw(rt, "tasks")
	return keyed(rapid.SampledFrom([]string{"", "", "", "once", "", "", "", "twice", "", "once", strings.Repeat("k", 1025)}).Draw(rt, "idempotency key"),
		rapid.SampledFrom([]string{"hash", "hash", "other"}).Draw(rt, "hash"), rapid.Int64Range(0, 600).Draw(rt, "keep"), tasks...)
}

func drawNew(rt *rapid.T, m *model) *New {
	n := task(rapid.IntRange(1, drawnKeys).Draw(rt, "new key"))
	n.Name = rapid.SampledFrom([]string{"", "", "", "a", "", "", "b", "", "", "", strings.Repeat("n", 1025)}).Draw(rt, "name")
	n.Type = rapid.SampledFrom([]string{"p.f", "p.g", "q.f"}).Draw(rt, "type")
	if len(m.packs) > 0 && rapid.Bool().Draw(rt, "released") {
		var pack string
		pack, n.Release = drawRelease(rt, m)
		n.Type = pack + n.Type[1:]
	}
	// The last is too large for the index to hold the record in memory.
	n.Args = []byte(strings.Repeat("x", rapid.SampledFrom([]int{0, 7, 30, maxRecordArgs + 1}).Draw(rt, "args")))
	if n.ArgsBlob = drawBlob(rt); n.ArgsBlob != nil && rapid.IntRange(0, 9).Draw(rt, "args too") < 9 {
		n.Args = nil
	}
	n.Priority = rapid.Uint32Range(0, MaxPriority+1).Draw(rt, "priority")
	n.Where = rapid.SampledFrom([]string{"", "", "", "", "zone=eu", "", "gpu=yes,zone=eu", "zone=us", "", "", "", "zone=,x", "", "b=1,a=1"}).Draw(rt, "where")
	n.Tags = rapid.SampledFrom([][]string{nil, {"t"}}).Draw(rt, "tags")
	n.DelayMs = rapid.SampledFrom([]int64{0, 0, 0, 100, 500}).Draw(rt, "delay")
	n.EtaMs = rapid.SampledFrom([]int64{0, 0, 0, m.now + 700, m.now - 100}).Draw(rt, "eta")
	n.Retry = rapid.SampledFrom([]*Retry{nil, {MaxAttempts: 2}, {MaxAttempts: 5}}).Draw(rt, "retry")
	n.Place = drawPlace(rt, m)
	return n
}
