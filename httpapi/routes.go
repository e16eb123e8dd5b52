package httpapi

import (
	"net/http"

	"pytasks/httpapi/auth"
)

// route is one thing that can be asked. GET routes answer HEAD too.
type route struct {
	method  string
	pattern string // as httprouter writes it
	need    need   // what it asks of its caller: one of the above, or a scope
	handle  func(*call)
	summary string // one line for people
}

// routes is the whole API. httprouter allows no static segment beside a
// wildcard of the same method: verbs of one task stand below /task/:id/, all
// about many below /tasks.
func (a *api) routes() []route {
	metrics := a.metricsHandler()
	return []route{
		{http.MethodGet, "/", public, (*call).start, "A page for people: what this is, links and examples"},
		{http.MethodGet, "/ping", public, (*call).ping, "Whether this process answers"},

		{http.MethodPost, "/task", submits, (*call).submit, "Queue a task; ?wait= waits for its result"},
		{http.MethodGet, "/task", reads, (*call).list, "List tasks, newest first"},
		{http.MethodGet, "/task/:id", submits, (*call).get, "The state of a task, and its result; ?wait= waits for it"},
		{http.MethodPost, "/task/:id/cancel", submits, (*call).cancel, "Revoke a task that is not finished"},
		{http.MethodPost, "/task/:id/retry", submits, (*call).retry, "Queue a finished task anew, under a new id; ?wait= waits for its result"},
		{http.MethodGet, "/task/:id/logs", submits, (*call).log, "What a task has printed; ?follow=1 goes on until it is finished"},
		{http.MethodGet, "/tasks", submits, (*call).types, "The types of task that the cluster can run, with their args"},
		{http.MethodPost, "/tasks/batch", submits, (*call).submitBatch, "Queue up to 10000 tasks, all or none"},

		{http.MethodGet, "/packs", reads, (*call).packs, "The packs of the cluster, and the nodes that have them"},
		{http.MethodPost, "/packs", auth.PacksWrite, (*call).installPack, "Install a pack: an archive as the body, or JSON with its url or name"},
		{http.MethodGet, "/packs/:name", reads, (*call).pack, "A pack, its types of task with their JSON Schema, its releases"},
		{http.MethodDelete, "/packs/:name", auth.PacksWrite, (*call).removePack, "Remove a pack; ?force=true even if tasks need it, which fail then"},
		{http.MethodPost, "/packs/:name/rollback", auth.PacksWrite, (*call).usePack, "Run new tasks on the release before, or on ?release="},

		{http.MethodGet, "/token", public, (*call).token, "Get a token for credentials in a JSON body"},
		{http.MethodPost, "/token", public, (*call).token, "Get a token for credentials"},
		{http.MethodGet, "/protected", known, (*call).protected, "What a token allows"},
		{http.MethodGet, "/.well-known/jwks.json", public, (*call).jwks, "The public keys of tokens"},
		{http.MethodGet, "/keys", auth.Admin, (*call).keys, "The keys of tokens"},
		{http.MethodPost, "/keys/rotate", auth.Admin, (*call).rotateKeys, "Sign tokens with a new key; the old ones verify until their last token ends"},
		{http.MethodGet, "/users", auth.UsersWrite, (*call).users, "The users"},
		{http.MethodPost, "/users", auth.UsersWrite, (*call).putUser, "Make a user, or change one"},
		{http.MethodGet, "/users/:name", auth.UsersWrite, (*call).user, "A user"},
		{http.MethodDelete, "/users/:name", auth.UsersWrite, (*call).removeUser, "Remove a user; its tokens are void"},
		{http.MethodPost, "/users/:name/password", known, (*call).password, "Change one's own password, or with users:write that of others; older tokens are void"},
		{http.MethodGet, "/audit", auth.AuditRead, (*call).audit, "Who did what, as JSON lines; ?after= a log index"},

		{http.MethodGet, "/cluster", auth.TasksRead, (*call).cluster, "The cluster as this node sees it"},
		{http.MethodGet, "/cluster/secret", auth.Admin, (*call).secret, "How far a change of the cluster's secret is"},
		{http.MethodPost, "/cluster/secret", auth.Admin, (*call).rotateSecret, "Give the cluster a new secret"},
		{http.MethodGet, "/snapshot", auth.Admin, (*call).snapshot, "All that the cluster has, as one file"},
		{http.MethodGet, "/nodes", auth.TasksRead, (*call).nodes, "The nodes of the cluster"},
		{http.MethodPost, "/cluster/stepdown", auth.NodesWrite, (*call).stepDown, "Give the leadership to another node"},
		{http.MethodPost, "/nodes/:name/drain", auth.NodesWrite, (*call).drainNode, "Give a node no tasks until it is resumed; ?timeout= for what runs there"},
		{http.MethodDelete, "/nodes/:name/drain", auth.NodesWrite, (*call).resumeNode, "Give a drained node tasks again"},
		{http.MethodPost, "/nodes/:name/labels", auth.NodesWrite, (*call).labelNode, "Change the labels of a node: a JSON object, null takes one away; ?forget=true begins with those that it was started with"},
		{http.MethodDelete, "/nodes/:name", auth.NodesWrite, (*call).removeNode, "Remove a node that will not come back"},

		{http.MethodGet, "/livez", public, (*call).livez, "Whether this process is alive, as text"},
		{http.MethodGet, "/readyz", public, (*call).readyz, "Whether this node should be sent requests, as text"},
		{http.MethodGet, "/metrics", auth.MetricsRead, func(c *call) { metrics.ServeHTTP(c, c.r) }, "Metrics for Prometheus, which may send a name and a password as HTTP Basic"},
	}
}
