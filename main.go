// Command pytasks runs typed functions on a cluster of identical nodes. To build a node
// with packs of your own, write this file with them in the list.
package main

import (
	"pytasks/node"
	"pytasks/taskpacks/physicsjs"
	"pytasks/taskpacks/test"
)

func main() { node.Main(test.Pack, physicsjs.Pack) }
