// Package config is what a node can be told: Config with its defaults, and one table of options (load.go) that gives
// each of them its flag, its variable of the environment and its place in the YAML file. Its errors are sentences that
// tell what to write instead.
package config
