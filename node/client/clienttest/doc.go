// Package clienttest has a node's REST API for tests of what speaks to one, over tasks in memory.
package clienttest
