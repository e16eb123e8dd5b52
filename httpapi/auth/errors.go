package auth

import "errors"

// Error is why a token is refused. Its message is what callers of the reference know.
type Error struct {
	code    string // stable, for programs
	message string
	cause   error // for logs; nil = none
}

// Error returns the message.
func (e *Error) Error() string { return e.message }

// Code returns the code that answers carry.
func (e *Error) Code() string { return e.code }

// Unwrap returns what was found.
func (e *Error) Unwrap() error { return e.cause }

// Is says whether two errors have the same code.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.code == e.code
}

// What the reference says.
const (
	textMissing   = "This endpoint requires the 'Authentication: Bearer JWT_token' header."
	textInvalid   = "This token is invalid"
	textSignature = "This token has invalid signature."
	textExpired   = "This token signature has expired."
	// textUnexpected is of an iat that is a text.
	textUnexpected = "An unexpected error occured during JWT decryption."
)

// The reasons why a token is refused.
var (
	ErrMissing     = &Error{code: "token_missing", message: textMissing}
	ErrMalformed   = &Error{code: "token_malformed", message: textInvalid}
	ErrAlgorithm   = &Error{code: "token_algorithm", message: textInvalid}
	ErrKey         = &Error{code: "token_key", message: textInvalid}
	ErrClaims      = &Error{code: "token_claims", message: textInvalid}
	ErrSignature   = &Error{code: "token_signature", message: textSignature}
	ErrExpired     = &Error{code: "token_expired", message: textExpired}
	ErrNotYetValid = &Error{code: "token_not_yet_valid", message: textInvalid}
	ErrIssuer      = &Error{code: "token_issuer", message: textInvalid}
	ErrAudience    = &Error{code: "token_audience", message: textInvalid}
	ErrRevoked     = &Error{code: "token_revoked", message: "This token is void: its user is gone, or has another password."}
	// ErrNoKeys is that no token can be made or judged yet: the cluster has no key.
	ErrNoKeys = &Error{code: "no_keys", message: "the cluster has no key for tokens yet: try again in a moment"}
)

func because(e *Error, cause error) *Error { return &Error{e.code, e.message, cause} }
