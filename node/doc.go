// Package node makes one member of the cluster of all the parts: wiring, the executor
// that runs tasks, the order of starting and stopping. With package taskpacks it is what programs of one's own
// import:
//
//	func main() { node.Main(mypack.Pack) }
//
// Start with New in node.go, which puts the parts together from top to bottom; then
// run.go, which starts and stops them. executor.go runs what the log assigns to this
// node; membership.go keeps it registered and alive; reads.go answers for tasks that
// this node may not have heard of yet; link.go joins the parts to the cluster. packs.go
// keeps this node's installed packs as the state names them, packs_install.go changes
// those of the cluster, tasklog.go and logs.go carry what tasks print. main.go hands it to
// the command line, which has a package of its own, as have configuration and data directory.
//
// It does not decide what runs where, nor how anything is stored.
package node
