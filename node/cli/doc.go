// Package cli is the command line. Each noun has a file: cli.go holds the tree of commands, what they share, and the exit
// codes; start.go starts nodes, which the program passes in (Program.Open); all else speaks to a running cluster as
// anybody could, by package client. bench*.go is `pytasks bench`.
//
// Begin with run.go, which is `pytasks run`.
package cli
