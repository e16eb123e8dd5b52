// Command chaosnode is the program with one more pack, "chaos", which writes to the file
// named by CHAOS_JOURNAL what it runs.
package main

import (
	"fmt"
	"os"

	"pytasks/node"
	"pytasks/node/history"
	"pytasks/taskpacks/test"
)

func main() {
	journal, err := history.OpenJournal(os.Getenv("CHAOS_JOURNAL"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaosnode: %v: name a file by CHAOS_JOURNAL\n", err)
		os.Exit(1)
	}
	node.Main(test.Pack, history.Pack(journal))
}
