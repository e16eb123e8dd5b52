package httpapi

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// tokenView is the answer to GET and POST /token.
type tokenView struct {
	Token string `json:"token" doc:"For the header Authorization: Bearer, a space, and this."`
	Exp   string `json:"exp" doc:"When it ends, in seconds since 1970, or infinity."`
}

// token is GET and POST /token. The body comes with GET too, as it always did; POST takes HTTP Basic as well.
func (c *call) token() {
	user, password, ok := c.credentials()
	if !ok {
		return
	}
	c.w.Header()["Cache-Control"] = []string{"no-store"}
	u, ok := c.logIn(user, password, askPassword)
	if !ok {
		return
	}
	claims := &auth.Claims{Sub: u.Name, Epoch: u.Epoch, Scopes: u.Scopes, Allowed: u.AllowedTasks}
	text, err := c.api.Keys.Set().Sign(claims, c.api.Now(), c.api.TokenTTL)
	if err != nil {
		c.failToken(err)
		return
	}
	end := "infinity"
	if claims.Expires != nil {
		end = strconv.FormatInt(claims.Expires.Unix(), 10)
	}
	c.sendView(tokenView{text, end})
}

func (c *call) failToken(err error) {
	if errors.Is(err, auth.ErrNoKeys) {
		c.w.Header()["Retry-After"] = []string{"1"}
		c.refuse(unauthorized(err))
		return
	}
	c.fail("", err)
}

// credentials reads who wants a token. When ok is false the request has been answered.
func (c *call) credentials() (name, secret string, ok bool) {
	if name, secret, ok = c.r.BasicAuth(); ok && c.r.Method == http.MethodPost {
		return name, secret, true
	}
	const needUser, needPassword = "You need to inform user", "You need to inform password"
	var user, password, odd []byte
	c.most = maxStrict
	if _, ok = c.object("user", needUser, func(s *scanner, key []byte) {
		name, value := string(key), s.value()
		switch name {
		case "user":
			user = value
		case "password":
			password = value
		default:
			odd = key
		}
	}); !ok {
		return "", "", false
	}
	switch {
	case user == nil:
		c.refuse(missing("user", needUser).hint(slipOf(odd, "user")))
		return "", "", false
	case password == nil:
		c.refuse(missing("password", needPassword).hint(slipOf(odd, "password")))
		return "", "", false
	}
	name, _ = textValue(user) // numbers and nulls are nobody's
	secret, _ = textValue(password)
	return name, secret, true
}

// askPassword has clients ask for a name and a password.
const askPassword = `Basic realm="pytasks", charset="UTF-8"`

// mayTry counts an attempt to log in. When ok is false the request has been answered: there were too many.
func (c *call) mayTry(name string) (ok bool) {
	wait := c.api.throttle.Attempt(name, peer(c.r))
	if wait == 0 {
		return true
	}
	c.api.logins.WithLabelValues(loginThrottled).Inc()
	c.w.Header()["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(wait.Seconds())))}
	c.refuse(&problem{status: http.StatusTooManyRequests, code: codeTooMany, message: "too many attempts to log in: wait"})
	return false
}

// logIn returns a user who knows the password. When ok is false the request has been answered, with that challenge if the password is
// wrong. How long that takes does not tell whether there is such a user.
func (c *call) logIn(name, password, challenge string) (u *fsm.User, ok bool) {
	if !c.mayTry(name) {
		return nil, false
	}
	ctx, cancel := c.bounded()
	defer cancel()
	u, err := c.api.Users.Find(ctx, name)
	if err != nil {
		c.failRead(err)
		return nil, false
	}
	right, err := c.api.hasher.Verify(ctx, u.GetPasswordHash(), password)
	switch {
	case err != nil:
		if errors.Is(err, auth.ErrBusy) {
			c.api.logins.WithLabelValues(loginThrottled).Inc()
		}
		c.failHash(err)
		return nil, false
	case !right:
		c.api.logins.WithLabelValues(loginWrong).Inc()
		c.refuse(&problem{status: http.StatusUnauthorized, code: codeCredentials, message: "Your credentials are invalid.", challenge: challenge})
		return nil, false
	}
	c.api.logins.WithLabelValues(loginOK).Inc()
	c.api.throttle.Succeeded(name, peer(c.r))
	return u, true
}

// protected is GET /protected: what the token says, as it says it.
func (c *call) protected() {
	if c.claims == nil { // the node's own
		c.sendView(map[string]any{"sub": c.who.Sub, "scopes": []string{auth.Admin}})
		return
	}
	c.buf = append(c.buf[:0], c.claims.Text...)
	c.sendJSON(http.StatusOK)
}
