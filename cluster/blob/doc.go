// Package blob keeps large bytes outside the log: files named by their SHA-256, on the
// disks of a majority before the log names them, fetched from one another by nodes that
// lack them. It does not know what the bytes mean, nor what refers to them: its callers
// say so, and blobs that nothing has needed for long are collected.
//
// Start reading at Store, which is one node's disk; Mover brings blobs from node to node.
package blob
