// Package client speaks to a cluster through the REST API of any of its nodes. client.go sends requests, to one node
// after the other if need be, and sends none twice that could do harm twice; api.go and the other files name what can be
// asked. auth.go finds who the caller is, and localtoken.go holds both ends of the token that a node leaves for its user.
package client
