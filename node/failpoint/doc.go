// Package failpoint marks the places where a crash hurts most, so that the process tests can crash a node exactly there.
//
// A place calls Point, or Err where it can report a failure. In the program both are empty and vanish when they are
// inlined. A program that is built with the tag failpoints looks into the environment variable PYTASKS_FAILPOINTS, which
// arms points by name:
//
//	PYTASKS_FAILPOINTS='raft.append.after=kill@3;executor.finish.before=sleep:2s'
//	PYTASKS_FAILPOINTS=@/path/to/a/file    the same in a file, which may be written anew while the node runs
//
// What an armed point does is one of
//
//	kill       the process ends itself as kill -9 does
//	panic      the goroutine panics
//	sleep:2s   the caller waits
//	error      Err returns an error; at a Point nothing happens
//	note       nothing
//
// "@3" lets only the third hit do it, counted from when the point was armed; without it each hit does. Whatever is done
// is told first, in a line on standard error: "failpoint: raft.append.after hit 3: kill".
//
// The package imports none of ours, so that every folder may import it.
package failpoint

// Spot is one point of the program.
type Spot struct {
	Name string // as the call names it
	When string // what has been done there, and what has not
}

// Spots returns all points, in the order of a task's way through the program and then of a node's life. A test holds it
// against the sources.
func Spots() []Spot {
	return []Spot{
		{"raft.append.before", "entries are about to be written to the log; an error stops the node as a failed disk does"},
		{"raft.append.after", "entries are in the log, on disk, and raft has not heard of it"},
		{"raft.stable.after", "a term, or that of a vote, is on disk, and raft has not acted on it"},
		{"raft.compact.middle", "a part of the entries behind a snapshot is deleted"},
		{"fsm.flush.before", "applied entries are about to be written to the state's file; an error stops the node"},
		{"fsm.flush.after", "applied entries are in the state's file, and the state has not noted it"},
		{"fsm.snapshot.before", "a snapshot is written but not in its place yet; an error gives it up"},
		{"fsm.snapshot.after", "a snapshot is in its place, and raft has not compacted the log"},
		{"fsm.restore.middle", "a snapshot of the leader is half read into the new state's file"},
		{"fsm.restore.swap", "the new state's file is whole, and the old one is closed but still in its place"},
		{"scheduler.commit.after", "an entry is committed; no node was told and no caller answered"},
		{"scheduler.answer.before", "an entry is committed and the nodes are told, but no caller is answered"},
		{"scheduler.giveup.before", "a node is taken for dead, and its tasks are not given back yet"},
		{"scheduler.purge.before", "finished tasks are about to be forgotten"},
		{"link.forward.after", "the leader has answered for a forwarded command, and its caller has not heard"},
		{"executor.start.before", "an assignment has a slot, and its code has not begun"},
		{"executor.finish.before", "the code has returned, and its outcome is not reported"},
		{"executor.finish.after", "an outcome is committed, and the executor does not know"},
		{"executor.handback.before", "a draining node is about to hand back what it holds"},
		{"packs.spread.before", "a pack is ready at the node that installs it, and no other node has its bytes"},
		{"packs.commit.before", "a pack's bytes are on the disks of a majority, and the log does not name it"},
		{"blob.spread.before", "large arguments are on the disk of the node that was sent them, and on no other"},
		{"blob.commit.before", "large arguments are on the disks of a majority, and the log does not name them"},
		{"blob.result.before", "the code has returned a large result, which is on no disk"},
		{"cluster.identity.before", "a node has been taken into a cluster and has not written down which"},
		{"cluster.save.middle", "a file of the cluster's is written but not in its place yet"},
		{"cluster.nonvoter.after", "a newcomer is a non-voter, and nothing was done to give it a vote"},
		{"cluster.remove.after", "a member is out of the configuration, and neither it nor its gossip was told"},
		{"node.identity.middle", "the data directory's new identity is written but not in its place yet"},
		{"node.leave.before", "leadership is handed over, and the others were not told that the node leaves"},
	}
}
