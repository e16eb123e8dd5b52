// Package secret is what the nodes of a cluster share: one secret, and what is made of it.
//
// A [Secret] is 32 random bytes. From them come, by HKDF-SHA256 (RFC 5869) with a label for each, the key of
// gossip, the keys that seal what is replicated, and the key of the cluster's certificate authority. A [Ring]
// holds the secrets that a node honours, the one that it uses first, so that a cluster can go over to another
// one while it runs. An [Identity] makes a node's certificates of them, for mutual TLS 1.3.
//
// The derived keys are as good as the secret: it cannot be guessed, as only what [New] makes is accepted. They
// are not stretched, so a text that people think of would be found from one captured packet.
package secret
