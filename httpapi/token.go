package httpapi

import "net/http"

// The refusals of protected tasks, worded as they always were.
const (
	noToken        = "This endpoint requires the 'Authentication: Bearer JWT_token' header."
	badToken       = "This token is invalid"
	badCredentials = "Your credentials are invalid."
)

// authorize refuses every caller: this node knows no users and has no key, so
// there is no token that it could trust.
func authorize(h http.Header) *problem {
	message := badToken
	if h.Get("Authorization") == "" {
		message = noToken
	}
	return unauthorized(message)
}

func unauthorized(message string) *problem {
	return &problem{status: http.StatusUnauthorized, code: codeNoToken, message: message}
}

// token is GET and POST /token. The body comes with GET too, as it always did.
func (c *call) token() {
	const needUser, needPassword = "You need to inform user", "You need to inform password"
	var user, password []byte
	_, ok := c.object("user", needUser, func(s *scanner, key []byte) {
		name, value := string(key), s.value()
		switch name {
		case "user":
			user = value
		case "password":
			password = value
		}
	})
	switch {
	case !ok:
	case user == nil:
		c.refuse(missing("user", needUser))
	case password == nil:
		c.refuse(missing("password", needPassword))
	default:
		c.refuse(unauthorized(badCredentials))
	}
}

// protected is GET /protected.
func (c *call) protected() { c.refuse(authorize(c.r.Header)) }
