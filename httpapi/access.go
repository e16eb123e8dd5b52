package httpapi

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// need is what a route asks of its caller.
type need string

const (
	// public routes are everybody's.
	public need = "public"
	// submits is whoever may submit tasks: anybody with a token, and the anonymous if they may. What of a task
	// they may do is up to the route.
	submits need = "submits"
	// known is anybody with a token.
	known need = "known"
	// reads is anybody with a token, who reads what is theirs, and the anonymous if they may read everything.
	reads need = "reads"
)

// Anonymous is what may be done without a token.
type Anonymous string

// The rights of the anonymous. Submitting is of tasks that are not protected; with it goes reading and cancelling those that nobody
// in particular has submitted.
const (
	AnonymousNone   Anonymous = "none"
	AnonymousSubmit Anonymous = "submit"
	AnonymousRead   Anonymous = "read" // and read everything
)

func (a Anonymous) principal() *auth.Principal {
	switch a {
	case AnonymousNone:
		return &auth.Principal{}
	case AnonymousRead:
		return &auth.Principal{Submits: true, Reads: true}
	default:
		return &auth.Principal{Submits: true}
	}
}

// nobody may do nothing.
var nobody = &auth.Principal{}

// localAdmin is who has the token that a node leaves for its own user.
var localAdmin = &auth.Principal{Sub: "admin", Submits: true, Rights: []auth.Rights{{Scopes: []string{auth.Admin}, Allowed: []string{"*"}}}}

// admit finds out who asks and whether they may ask for this. It returns why not, or has answered the request.
func (c *call) admit(n need) *problem {
	c.who, c.claims, c.denied = nobody, nil, nil
	if n == public {
		return nil
	}
	p := c.introduce(n)
	if c.status != 0 {
		return nil
	}
	if p != nil {
		// The reference does not look at the header where it needs none, and its clients may send anything.
		if p.status != http.StatusUnauthorized || n != submits || !c.api.anonymous.Submits || c.strange() != nil {
			return p
		}
		c.who, c.denied = c.api.anonymous, p
	}
	allowed := false
	switch n {
	case submits:
		allowed = c.who.Submits || c.claims != nil
	case known:
		allowed = c.claims != nil || c.who == localAdmin
	case reads:
		allowed = c.claims != nil || c.who.May(auth.TasksRead)
	default:
		allowed = c.who.May(string(n))
	}
	switch {
	case allowed:
		return nil
	case c.claims == nil && c.who.Sub == "":
		p := unauthorized(auth.ErrMissing)
		p.detail = getToken + "; its user must be one who may do this (" + string(n) + ")"
		return p
	}
	return &problem{status: http.StatusForbidden, code: codeForbidden, message: "this needs the scope " + string(n) + ", which " + c.who.Sub + " does not have, or this token of theirs"}
}

// introduce finds out who asks: by a token, by a password where that is taken, or nobody in particular. It returns why not, or has
// answered the request.
func (c *call) introduce(n need) *problem {
	given := c.r.Header["Authorization"]
	if len(given) == 0 || given[0] == "" {
		if p := c.strange(); p != nil {
			return p
		}
		c.who = c.api.anonymous
		return nil
	}
	if c.sendsPassword(n, given[0]) {
		c.scraper()
		return nil
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" || strings.Contains(token, " ") || len(given) > 1 {
		return unauthorized(auth.ErrMalformed)
	}
	if mine := c.api.LocalToken; mine != "" && subtle.ConstantTimeCompare([]byte(token), []byte(mine)) == 1 && FromHere(c.r) {
		c.who = localAdmin
		return nil
	}
	claims, who, err := c.judge(token)
	if err != nil {
		return c.unbelieved(err)
	}
	c.claims, c.who = claims, who
	return nil
}

// unbelieved is the answer to a token that is not to be believed, or of which nobody knows now.
func (c *call) unbelieved(err error) *problem {
	var e *auth.Error
	if errors.As(err, &e) {
		return unauthorized(e)
	}
	c.api.Logger.Warn("no user found for a token", "request", c.requestID(), "err", err)
	c.w.Header()["Retry-After"] = []string{"1"}
	return &problem{status: http.StatusServiceUnavailable, code: codeTimeout, message: "the user of this token cannot be looked up now: ask again"}
}

// judge returns who a token is of. One that was made elsewhere counts alone if it names nobody whom this node knows; else its user
// is a bound for it too.
func (c *call) judge(token string) (*auth.Claims, *auth.Principal, error) {
	keys := c.api.Keys.Set()
	claims, err := keys.Verify(token, c.api.Now())
	if errors.Is(err, auth.ErrKey) { // this node may not have heard of a new one yet
		ctx, cancel := c.bounded()
		defer cancel()
		if c.api.Keys.CatchUp(ctx) == nil {
			keys = c.api.Keys.Set()
			claims, err = keys.Verify(token, c.api.Now())
		}
	}
	if err != nil {
		return nil, nil, err
	}
	who := &auth.Principal{Sub: claims.Sub, Submits: c.api.anonymous.Submits, Reads: c.api.anonymous.Reads, Rights: []auth.Rights{claims.Rights()}}
	u := c.api.Users.User(claims.Sub)
	if !keys.Own(claims) && (u == nil || claims.Epoch == 0) { // made elsewhere with the same key, where nobody knows of epochs
		if u != nil {
			who.Rights = append(who.Rights, auth.Rights{Scopes: u.Scopes, Allowed: u.AllowedTasks})
		}
		return claims, who, nil
	}
	if u.GetEpoch() != claims.Epoch { // this node may not have heard of the user yet
		ctx, cancel := c.bounded()
		defer cancel()
		if u, err = c.api.Users.Find(ctx, claims.Sub); err != nil {
			return nil, nil, fmt.Errorf("find user %s: %w", claims.Sub, err)
		}
	}
	if u == nil || u.Epoch != claims.Epoch {
		return nil, nil, auth.ErrRevoked
	}
	who.Rights = append(who.Rights, auth.Rights{Scopes: u.Scopes, Allowed: u.AllowedTasks})
	return claims, who, nil
}

// strange says what is wrong with a request of nobody in particular that a page of another site has made in a browser.
func (c *call) strange() *problem {
	origin := c.r.Header.Get("Origin")
	why := ""
	switch {
	case origin != "" && !sameHost(origin, c.r.Host) && !c.api.cors.allows(origin):
		why = "pages of " + origin + " may not use this node: --cors-origin lets them"
	case c.api.LoopbackOnly && !namesThisMachine(c.r.Host):
		why = "this node is asked at an address of this machine, such as 127.0.0.1, not at " + c.r.Host
	}
	if why == "" {
		return nil
	}
	return &problem{status: http.StatusForbidden, code: codeForbidden, message: why}
}

// getToken says how to come by a token.
const getToken = "POST /token with a name and a password, or `pytasks token`, makes a token: send it as `Authorization: Bearer <token>`"

// unauthorized is the answer to a token that is missing or not to be believed.
func unauthorized(err error) *problem {
	var e *auth.Error
	if !errors.As(err, &e) {
		e = auth.ErrMalformed
	}
	p := &problem{status: http.StatusUnauthorized, code: e.Code(), message: e.Error(), detail: getToken, challenge: "Bearer"}
	switch {
	case errors.Is(e, auth.ErrNoKeys):
		p.status, p.detail, p.challenge = http.StatusServiceUnavailable, "", ""
	case !errors.Is(e, auth.ErrMissing):
		p.challenge = `Bearer error="invalid_token"`
	}
	return p
}

// protect says why the caller may not run a protected task.
func (c *call) protect(taskType string) *problem {
	switch {
	case c.who.MayRun(taskType):
		return nil
	case c.denied != nil:
		return c.denied
	case c.who.Sub == "" && c.claims == nil:
		return unauthorized(auth.ErrMissing)
	}
	message := "You don't have permission to use this tasktype."
	if c.claims != nil && !slices.Contains(c.claims.Denied, taskType) && !slices.Contains(c.claims.Allowed, taskType) {
		message = "The payload in your JWT is not valid."
	}
	return &problem{status: http.StatusForbidden, code: codeForbidden, message: message}
}

// maySee says whether the caller may know of a task.
func (c *call) maySee(t *fsm.Task) bool { return c.who.Owns(t.Owner) || c.who.May(auth.TasksRead) }

// acting returns a context under which commands are the caller's.
func (c *call) acting(ctx context.Context) context.Context {
	return fsm.WithActor(ctx, &fsm.Actor{Sub: c.who.Sub, Addr: peer(c.r)})
}

// peer returns the IP address that a request came from.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// FromHere says whether a request was made by a program on this machine, not by a page in its browser, and was not passed on by a proxy.
func FromHere(r *http.Request) bool {
	ip := net.ParseIP(peer(r))
	origin := r.Header.Get("Origin")
	return ip != nil && ip.IsLoopback() && !forwarded(r) && (origin == "" || sameHost(origin, r.Host)) && namesThisMachine(r.Host)
}

// forwarded says whether a proxy says that it passes a request on: then it comes from this machine
// only as far as the proxy does.
func forwarded(r *http.Request) bool {
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return r.ProtoMajor == 1 && r.ProtoMinor == 0 // what nginx speaks to those behind it, unless told otherwise
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

// namesThisMachine says whether a Host header is one that no name server of others can give:
// a page whose name was made to lead here says its own.
func namesThisMachine(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host) != nil
}
