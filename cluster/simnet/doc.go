// Package simnet is a network of hosts inside one process, with faults: cut links, pulled cables, crashed processes,
// delay, loss and duplication. It is made for tests under testing/synctest, where its delays cost no real time: whatever
// waits here waits in a way that lets virtual time go on. It runs in real time too.
//
// A Host's methods fit into cluster.Network as they are, and into net/http through Listen and DialContext:
//
//	n := simnet.New(seed)
//	h := n.Host("10.0.0.1")
//	cfg.Network = cluster.Network{Listen: h.Listen, Dial: h.Dial, Gossip: h.Gossip}
//	...
//	n.Cut("10.0.0.1", "10.0.0.2") // the first no longer reaches the second
//	h.Crash()
//	h = n.Host("10.0.0.1")        // the process that is started after the crash
//
// Under synctest, New and every use of the network belong inside one bubble, and so do the contexts given to Dial.
//
// # What is as on a real network
//
//   - Streams carry bytes in order, none lost, none twice. A lost segment comes again after a retransmission delay that
//     grows, and holds up what is behind it. A cut holds up everything until a while after it is healed.
//   - A writer runs ahead of its reader by 256 KiB, then it blocks until its write deadline. What a host cannot
//     acknowledge, because only the way back is cut, counts as not read.
//   - Between hosts that are cut off for UserTimeout, one way or both, all connections end with ETIMEDOUT at both ends,
//     used or idle. Until then only deadlines tell.
//   - A dial takes one round trip. It is refused (ECONNREFUSED) by a host where nobody listens; it is silently tried again
//     while the way is cut, for two minutes at most. A host that Network.Host was never asked for is silent.
//   - Close sends what was written, then the end. If bytes were left unread it resets the connection instead, as Linux
//     does, and bytes that come in later are answered with a reset.
//   - A crash resets the connections of the process, but the reset arrives only where a way is open: beyond a cut the other
//     end hangs, and learns of it after the cut is healed.
//   - Packets are lost, doubled, overtaken by others and dropped by a full receiver.
//
// # What is left out
//
// Bandwidth, congestion, routing and names: an address is an IP and a port. Acknowledgements take no time, and a reset
// comes after the bytes that were sent before it. A host reaches itself without any fault, even unplugged.
// Delays and losses of each way between two hosts are drawn from a source of their own, derived from the seed; which
// traffic meets which draw still depends on the order in which goroutines run.
//
// Start reading at host.go; stream.go is one direction of a connection, path.go decides what becomes of a packet.
package simnet
