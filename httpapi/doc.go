// Package httpapi is the REST API of a node, for people and programs.
//
// It checks what is asked, hands it to the queue, the state and the installed packs
// through the small interfaces in api.go and packs.go, and writes the answers. It keeps nothing between
// requests but metrics, knows no raft and starts no goroutine.
//
// Start reading at routes.go, the table of everything that can be asked, then
// submit.go. How a request is carried through is in call.go, what a refused
// one is answered in respond.go.
//
// Installing a pack is running its code: packs.go lets only people at a node's own
// machine do that, and no page in their browsers.
//
// JSON that belongs to callers, the args of a task and its result, passes
// through as the bytes that it came in. It is never decoded and written again,
// so integers of any size stay exact, and 1 and 1.0 stay different.
package httpapi
