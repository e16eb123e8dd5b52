// The tasks of a module that does not behave. The tests build it for wasip1.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	switch os.Args[1] {
	case "loop":
		fmt.Fprintln(os.Stderr, "begun")
		for {
		}
	case "hog":
		var hold [][]byte
		for i := 0; ; i++ {
			hold = append(hold, make([]byte, 1<<20))
			fmt.Fprintln(os.Stderr, "MiB held:", len(hold))
		}
	case "outside":
		outside()
	}
}

// outside prints what it could read, list and write of the machine: the names, or nothing.
func outside() {
	var in struct {
		Files []string `json:"files"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	found := []string{}
	for _, file := range in.Files {
		if _, err := os.ReadFile(file); err == nil {
			found = append(found, "read "+file)
		}
		if err := os.WriteFile(file, []byte("overwritten"), 0o600); err == nil {
			found = append(found, "wrote "+file)
		}
	}
	for _, dir := range []string{"/", ".", "..", "../.."} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			found = append(found, dir+" has "+e.Name())
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}
