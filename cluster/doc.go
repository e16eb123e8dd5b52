// Package cluster carries opaque bytes to a majority of nodes, and calls from one node to another.
//
// It joins three things behind one type, [Cluster]:
//
//   - gossip (memberlist): who is there, under which address, in which state;
//   - a replicated log (raft): [Cluster.Propose] on the leader, FSM.Apply on every node;
//   - node-to-node calls over one multiplexed connection per pair: [Cluster.Call], [Cluster.CallLeader].
//
// It chooses the voters by itself (an odd number, five at most by default), keeps the addresses of members that move,
// and runs leader-only work through [Cluster.Lead]. It does not know what the bytes mean: no task, no queue, no user
// appears here, and it imports no other package of this module.
//
// # What is certain
//
// An error is either definite or ambiguous. [ErrNotLeader], [ErrNoLeader], [ErrUnreachable] and [ErrRefused] are
// definite: nothing happened. [ErrUnknown] is ambiguous: the entry may be committed now or later, the call may have
// been executed. Whoever retries after it needs commands that may be repeated.
//
// # Identity
//
// A node is its id, which lives in its data directory: an empty disk is a new node. The boot number tells two runs of
// one data directory apart. Addresses are attributes: every connection names the node (and, for raft, the cluster) it
// means to reach, and is refused by any other that happens to listen there. A cluster has an id too, made when it is
// bootstrapped; a node that has one never joins another.
//
// # Where to start reading
//
// cluster.go (Open and Close), then one of: propose.go and read.go (the log), link.go and serve.go (calls), gossip.go
// and join.go (members), lead.go, plan.go and reconcile.go (leader and voters), logstore.go and snapshot.go (disk).
package cluster
