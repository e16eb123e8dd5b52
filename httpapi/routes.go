package httpapi

import "net/http"

// route is one thing that can be asked. GET routes answer HEAD too.
type route struct {
	method  string
	pattern string // as httprouter writes it
	handle  func(*call)
	summary string // one line for people
}

// routes is the whole API. httprouter allows no static segment beside a
// wildcard of the same method: verbs of one task stand below /task/:id/, all
// about many below /tasks.
func (a *api) routes() []route {
	metrics := a.metricsHandler()
	return []route{
		{http.MethodGet, "/", (*call).start, "A page for people: what this is, links and examples"},
		{http.MethodGet, "/ping", (*call).ping, "Whether this process answers"},

		{http.MethodPost, "/task", (*call).submit, "Queue a task; ?wait= waits for its result"},
		{http.MethodGet, "/task", (*call).list, "List tasks, newest first"},
		{http.MethodGet, "/task/:id", (*call).get, "The state of a task, and its result; ?wait= waits for it"},
		{http.MethodPost, "/task/:id/cancel", (*call).cancel, "Revoke a task that is not finished"},
		{http.MethodGet, "/tasks", (*call).types, "The types of task that the cluster can run, with their args"},
		{http.MethodPost, "/tasks/batch", (*call).submitBatch, "Queue up to 10000 tasks, all or none"},

		{http.MethodGet, "/token", (*call).token, "Get a token for credentials in a JSON body"},
		{http.MethodPost, "/token", (*call).token, "Get a token for credentials"},
		{http.MethodGet, "/protected", (*call).protected, "What a token allows"},

		{http.MethodGet, "/cluster", (*call).cluster, "The cluster as this node sees it"},
		{http.MethodGet, "/nodes", (*call).nodes, "The nodes of the cluster"},
		{http.MethodDelete, "/nodes/:name", (*call).removeNode, "Remove a node that will not come back"},

		{http.MethodGet, "/livez", (*call).livez, "Whether this process is alive, as text"},
		{http.MethodGet, "/readyz", (*call).readyz, "Whether this node should be sent requests, as text"},
		{http.MethodGet, "/metrics", func(c *call) { metrics.ServeHTTP(c, c.r) }, "Metrics for Prometheus"},
	}
}
