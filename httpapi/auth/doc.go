// Package auth says who somebody is and what they may do: passwords, tokens, scopes, and limits on trying.
//
// It knows no HTTP and keeps no users: [Users] looks them up. Start with principal.go, which has the rights;
// claims.go and keys.go have the tokens (JWT, RFC 7519), password.go the passwords (argon2id, RFC 9106),
// throttle.go the limits.
//
// A token says what its user could do when it was made. What counts is that and what the user may do now, so
// rights that are taken away are gone at once, and a token of a user who has another password, or is gone, is void.
package auth
