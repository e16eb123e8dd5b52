// Package wasm runs packs of WebAssembly: modules built for WASI preview 1, each a command whose main reads its arguments and
// prints its result. They run inside the node, without a process and on any platform, and can do nothing but compute.
//
// What a module finds:
//
//   - standard input: the arguments, one JSON object with the defaults filled in
//   - standard output: its result, JSON, or any text if its task's output is "text"
//   - standard error: the task's log
//   - arguments of the program: the module's file and the task's short name, so that one module may serve several tasks
//   - environment: PYTASKS_TASK_ID, PYTASKS_ATTEMPT, PYTASKS_NODE, and TMPDIR
//   - files: an empty folder as "/", removed after the call; nothing else of the machine, and no symbolic links
//   - clocks and random numbers: real ones
//
// It has no network, no threads and no other program. A status of 0 is success; 75 (EX_TEMPFAIL of sysexits.h) is an error that may
// be tried again, any other one is final, and the last line on standard error says why. A trap is a crash of the module alone.
//
// Every call has an instance of its own, with fresh memory. A module is compiled once, when its pack is opened, and the machine
// code is kept on disk. What a call may take is bounded: memory, tables, the result, files. Its time is bounded by its context
// alone, which stops the module at its next loop or call.
//
// The package is not a second wall behind wazero, which checks every access to memory: what breaks out of that is in the node.
//
// Start reading in pack.go for what opening a pack checks, in call.go for one call.
package wasm
