// Package process runs task code in processes of its own: warm workers that take one call after the other (Pool), and
// programs that run once (Host.Once).
//
// Each process leads a process group, gets a clean environment and a fresh folder, and ends with the node: on Linux the kernel
// kills it when the node's process dies. What it prints is the log of the task and never a protocol: a worker speaks on file
// descriptors 3 and 4.
//
// Frames are a length, four bytes big endian, and that many bytes of JSON. A worker tells first
//
//	{"ready": true}    or    {"fatal": {"type": ..., "message": ..., "traceback": ...}}
//
// and takes requests from then on:
//
//	{"id": "...", "attempt": 1, "node": "...", "task": "...", "dir": "/fresh/folder", "args": {...}}
//
// It answers with any number of {"progress": [0.5, "text"]} and one of
//
//	{"result": <any JSON>}    or    {"error": {"type": ..., "message": ..., "traceback": ..., "permanent": true}}
//
// and ends when descriptor 3 does.
//
// A call returns when its outcome is known and, if it was stopped, when the processes are gone; only then the slot is free. The
// whole process group is killed: what a task leaves behind dies with it, or right after its call. A process that has made a
// session of its own is no longer found that way; it is left alone, and nothing waits for it. With a limit of memory, and where the
// node may use cgroups, each group has one: then such a process is found, too.
//
// The package does not know languages, and no retries beyond one: a request that no worker has read is given to another.
//
// Start reading in host.go, then pool.go and worker.go for warm workers, once.go for programs, group.go for how processes end,
// delegate_linux.go and cgroup_linux.go for cgroups.
package process
