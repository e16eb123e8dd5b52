// Package taskpacks says what a task is and runs its code.
//
// A func is a typed Go function under a full name, "<pack>.main.<function>"; a pack is a set of funcs under one name and
// version; a registry holds the packs of a node. A pack author writes
//
//	package shapes
//
//	var Pack = taskpacks.Pack{Name: "shapes", Version: "1.0", Funcs: []taskpacks.Func{
//		taskpacks.Define("shapes.main.area", area, taskpacks.Timeout(time.Second)),
//	}}
//
//	type rect struct {
//		Width  float64 `json:"width"`
//		Height float64 `json:"height" default:"1.0"`
//	}
//
//	func area(ctx context.Context, in rect) (float64, error) { return in.Width * in.Height, nil }
//
// and unit-tests area like any other function: this package needs the standard library only.
//
// Packs that are installed into a running cluster are folders with a manifest (Manifest, in package.json), and their code is in
// Python, programs or WebAssembly: the packages below open them, packdir by their kind, and make funcs of this package of them.
// README.md beside this file is for their authors.
//
// What a func should know:
//
//   - It may run more than once for one task (a node was lost, a retry), so what it does to the world should bear that.
//     CallFrom(ctx) gives the task's id and the number of the attempt.
//   - ctx ends when the task times out, is revoked or the node stops. A func that ignores it holds its slot.
//   - An error means that the attempt failed and may be tried again; Permanent marks one that may not. A panic in the func
//     becomes a *PanicError. What Go cannot recover from ends the whole process: a panic in a goroutine that the func started,
//     a stack overflow, concurrent writes to a map.
//   - Numbers are exact: use *big.Int for integers of any size, and Float inside results where 5.0 must not become 5.
//     A number in a param or field of type any arrives as a json.Number.
//
// The package does not queue, retry or time out: that is the cluster's work. Arguments are checked against a func's Spec by
// Spec.Check, on raw bytes, so that a node can refuse a task before it is queued.
//
// Start reading in define.go for what an author writes, in spec.go for what a caller may pass, in type.go and parse.go for types, in
// manifest.go for packs in folders.
package taskpacks
