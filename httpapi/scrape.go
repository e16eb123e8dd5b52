package httpapi

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// maxScrapes is how many requests for /metrics are served at once.
const maxScrapes = 4

func (a *api) metricsHandler() http.Handler {
	return promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// sendsPassword says whether a caller shows a password where a token is usual. It may on /metrics alone, as Prometheus cannot ask for
// tokens: browsers send what they were given once with every request, also with those that pages of others make. None is asked for
// one here, either: a challenge would be.
func (c *call) sendsPassword(n need, given string) bool {
	scheme, _, _ := strings.Cut(given, " ")
	return n == need(auth.MetricsRead) && strings.EqualFold(scheme, "Basic")
}

// scraper finds out who asks by their name and password. When ok is false the request has been answered.
func (c *call) scraper() (ok bool) {
	name, password, ok := c.r.BasicAuth()
	if !ok {
		c.refuse(unauthorized(auth.ErrMalformed))
		return false
	}
	u, ok := c.familiar(name, password)
	if !ok {
		return false
	}
	if u == nil {
		if u, ok = c.logIn(name, password, "Bearer"); !ok {
			return false
		}
		c.api.remembered.Keep(u.Name, u.Epoch, password)
	}
	c.who = &auth.Principal{Sub: u.Name, Submits: c.api.anonymous.Submits, Reads: c.api.anonymous.Reads,
		Rights: []auth.Rights{{Scopes: u.Scopes, Allowed: u.AllowedTasks}}}
	return true
}

// familiar returns the user whose password was right before, nil if it has to be looked at. It counts as an attempt like any other
// until it is known to be right: else those who have to wait could tell by it whether they have guessed. When ok is false the request
// has been answered.
func (c *call) familiar(name, password string) (u *fsm.User, ok bool) {
	if u = c.api.Users.User(name); u == nil || !c.api.remembered.Knows(name, u.Epoch, password) {
		return nil, true
	}
	if !c.mayTry(name) {
		return nil, false
	}
	c.api.throttle.Repeated(name, peer(c.r))
	return u, true
}
