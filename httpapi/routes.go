package httpapi

import (
	"net/http"

	"pytasks/httpapi/auth"
	"pytasks/httpapi/openapi"
)

// route is one thing that can be asked. GET routes answer HEAD too.
type route struct {
	method  string
	pattern string // as httprouter writes it
	need    need   // what it asks of its caller: one of the above, or a scope
	handle  func(*call)
	summary string // one line for people
	about          // the rest of its description
}

// routes is the whole API: what is served is what is described, at /openapi.json. httprouter allows no static segment beside a
// wildcard of the same method: verbs of one task stand below /task/:id/, all
// about many below /tasks.
func (a *api) routes() []route {
	metrics := a.metricsHandler()
	return []route{
		{http.MethodGet, "/", public, (*call).docs, "This description, for people: try it out here",
			about{id: "startPage", gives: html, also: unchanged}},
		{http.MethodGet, "/docs", public, (*call).docs, "The same page",
			about{id: "docsPage", gives: html, also: unchanged}},
		{http.MethodGet, "/docs/:file", public, (*call).docsFile, "A file of that page",
			about{id: "docsFile", gives: anyFile, also: unchanged, refuses: codes(codeNoPath)}},
		{http.MethodGet, "/openapi.json", public, (*call).openAPI, "This description as OpenAPI 3.1; who may see the types of task gets an operation for each",
			about{id: "getOpenAPI", gives: anyObject{}, also: unchanged}},
		{http.MethodGet, "/swagger.json", public, (*call).swagger, "The same as Swagger 2.0, for older clients",
			about{id: "getSwagger", gives: anyObject{}, also: unchanged}},
		{http.MethodGet, "/ping", public, (*call).ping, "Whether this process answers",
			about{id: "ping", gives: pingView{}}},

		{http.MethodPost, "/task", submits, (*call).submit, "Queue a task; ?wait= waits for its result",
			about{id: "submitTask", params: []openapi.Param{waitParam, idempotencyParam}, takes: newTaskShape{}, gives: taskShape{}, later: true, refuses: queuing}},
		{http.MethodGet, "/task", reads, (*call).list, "List tasks, newest first",
			about{id: "listTasks", params: listParams, gives: taskListShape{}, refuses: codes(reading, codeBadRequest, "bad_cursor")}},
		{http.MethodGet, "/task/:id", submits, (*call).get, "The state of a task, and its result; ?wait= waits for it",
			about{id: "getTask", params: []openapi.Param{waitParam, consistencyParam}, gives: taskShape{}, later: true, refuses: codes(reading, codeBadRequest, codeNotFound, "no_blob")}},
		{http.MethodPost, "/task/:id/cancel", submits, (*call).cancel, "Revoke a task that is not finished",
			about{id: "cancelTask", gives: revokedShape{}, refuses: codes(reading, writing, codeNotFound, codeFinished)}},
		{http.MethodPost, "/task/:id/retry", submits, (*call).retry, "Queue a finished task anew, under a new id; ?wait= waits for its result",
			about{id: "retryTask", params: []openapi.Param{waitParam, idempotencyParam}, gives: taskShape{}, later: true, refuses: codes(queuing, reading, codeNotFound, codeUnfinished, "no_blob")}},
		{http.MethodGet, "/task/:id/logs", submits, (*call).log, "What a task has printed; ?follow=1 goes on until it is finished",
			about{id: "getTaskLog", params: []openapi.Param{followParam}, gives: plainText, refuses: codes(reading, codeBadRequest, codeNotFound)}},
		{http.MethodGet, "/tasks", submits, (*call).types, "The types of task that the cluster can run, with their args",
			about{id: "listTypes", gives: taskTypesShape{}}},
		{http.MethodPost, runPattern, submits, (*call).run, "Queue a task of a type: the body is its args, options are parameters",
			about{id: "runTask", params: runParams, takes: anyObject{}, gives: taskShape{}, later: true, refuses: queuing}},
		{http.MethodPost, "/tasks/batch", submits, (*call).submitBatch, "Queue up to 10000 tasks, all or none",
			about{id: "submitBatch", params: []openapi.Param{idempotencyParam}, takes: batchShape{}, gives: batchQueuedShape{}, refuses: queuing}},

		{http.MethodGet, "/packs", reads, (*call).packs, "The packs of the cluster, and the nodes that have them",
			about{id: "listPacks", gives: packListView{}}},
		{http.MethodPost, "/packs", auth.PacksWrite, (*call).installPack, "Install a pack: an archive as the body, or JSON with its url or name",
			about{id: "installPack", params: installParams, takes: packFromShape{}, gives: PackView{}, refuses: packing}},
		{http.MethodGet, "/packs/:name", reads, (*call).pack, "A pack, its types of task with their JSON Schema, its releases",
			about{id: "getPack", gives: PackView{}, refuses: codes(codeNotFound)}},
		{http.MethodDelete, "/packs/:name", auth.PacksWrite, (*call).removePack, "Remove a pack; ?force=true even if tasks need it, which fail then",
			about{id: "removePack", params: removeParams, gives: doneView{}, refuses: packing}},
		{http.MethodPost, "/packs/:name/rollback", auth.PacksWrite, (*call).usePack, "Run new tasks on the release before, or on ?release=",
			about{id: "rollBackPack", params: []openapi.Param{releaseParam}, gives: PackView{}, refuses: packing}},

		{http.MethodGet, "/token", public, (*call).token, "Get a token for credentials in a JSON body",
			about{id: "getToken", takes: credentialsShape{}, gives: tokenView{}, refuses: loggingIn, doc: "The body comes with GET, which browsers cannot send: POST does the same."}},
		{http.MethodPost, "/token", public, (*call).token, "Get a token for credentials",
			about{id: "makeToken", takes: credentialsShape{}, gives: tokenView{}, refuses: loggingIn, doc: "HTTP Basic may take the place of the body."}},
		{http.MethodGet, "/protected", known, (*call).protected, "What a token allows",
			about{id: "getClaims", gives: anyObject{}}},
		{http.MethodGet, "/.well-known/jwks.json", public, (*call).jwks, "The public keys of tokens",
			about{id: "getPublicKeys", gives: jwksShape{}}},
		{http.MethodGet, "/keys", auth.Admin, (*call).keys, "The keys of tokens",
			about{id: "listKeys", gives: keyListView{}}},
		{http.MethodPost, "/keys/rotate", auth.Admin, (*call).rotateKeys, "Sign tokens with a new key; the old ones verify until their last token ends",
			about{id: "rotateKeys", gives: keyListView{}, refuses: changing}},
		{http.MethodGet, "/users", auth.UsersWrite, (*call).users, "The users",
			about{id: "listUsers", gives: userListView{}}},
		{http.MethodPost, "/users", auth.UsersWrite, (*call).putUser, "Make a user, or change one",
			about{id: "putUser", takes: userChange{}, gives: userView{}, refuses: changing}},
		{http.MethodGet, "/users/:name", auth.UsersWrite, (*call).user, "A user",
			about{id: "getUser", gives: userView{}, refuses: codes(reading, codeNotFound)}},
		{http.MethodDelete, "/users/:name", auth.UsersWrite, (*call).removeUser, "Remove a user; its tokens are void",
			about{id: "removeUser", gives: doneView{}, refuses: changing}},
		{http.MethodPost, "/users/:name/password", known, (*call).password, "Change one's own password, or with users:write that of others; older tokens are void",
			about{id: "changePassword", takes: passwordChange{}, gives: doneView{}, refuses: codes(changing, codeCredentials)}},
		{http.MethodGet, "/audit", auth.AuditRead, (*call).audit, "Who did what, as JSON lines; ?after= a log index",
			about{id: "listAudit", params: auditParams, gives: lines, refuses: codes(reading, codeBadRequest), doc: "Each line is an AuditLine."}},

		{http.MethodGet, "/cluster", auth.TasksRead, (*call).cluster, "The cluster as this node sees it",
			about{id: "getCluster", gives: clusterView{}}},
		{http.MethodGet, "/cluster/secret", auth.Admin, (*call).secret, "How far a change of the cluster's secret is",
			about{id: "getSecretRotation", gives: RotationView{}}},
		{http.MethodPost, "/cluster/secret", auth.Admin, (*call).rotateSecret, "Give the cluster a new secret",
			about{id: "rotateSecret", takes: secretChange{}, gives: RotationView{}, refuses: changing}},
		{http.MethodPost, "/cluster/stepdown", auth.NodesWrite, (*call).stepDown, "Give the leadership to another node",
			about{id: "stepDown", gives: leaderView{}, refuses: codes(writing, "no_successor")}},
		{http.MethodGet, "/snapshot", auth.Admin, (*call).snapshot, "All that the cluster has, as one file",
			about{id: "getSnapshot", gives: anyFile, refuses: codes(reading, codeBusy, codeDiskFull)}},
		{http.MethodGet, "/nodes", auth.TasksRead, (*call).nodes, "The nodes of the cluster",
			about{id: "listNodes", gives: nodeListView{}}},
		{http.MethodPost, "/nodes/:name/drain", auth.NodesWrite, (*call).drainNode, "Give a node no tasks until it is resumed; ?timeout= for what runs there",
			about{id: "drainNode", params: drainParams, gives: doneView{}, refuses: codes(writing, codeBadRequest, codeNotFound, "last_node", "no_successor")}},
		{http.MethodDelete, "/nodes/:name/drain", auth.NodesWrite, (*call).resumeNode, "Give a drained node tasks again",
			about{id: "resumeNode", gives: doneView{}, refuses: codes(writing, codeNotFound)}},
		{http.MethodPost, "/nodes/:name/labels", auth.NodesWrite, (*call).labelNode, "Change the labels of a node: a JSON object, null takes one away; ?forget=true begins with those that it was started with",
			about{id: "labelNode", params: []openapi.Param{forgetParam}, takes: labelChangeShape{}, gives: doneView{}, refuses: codes(writing, bodies, codeArgs, codeNotFound)}},
		{http.MethodDelete, "/nodes/:name", auth.NodesWrite, (*call).removeNode, "Remove a node that will not come back",
			about{id: "removeNode", gives: doneView{}, refuses: codes(writing, codeNotFound, "unsafe")}},

		{http.MethodGet, "/livez", public, (*call).livez, "Whether this process is alive, as text",
			about{id: "livez", gives: plainText}},
		{http.MethodGet, "/readyz", public, (*call).readyz, "Whether this node should be sent requests, as text",
			about{id: "readyz", gives: plainText, also: notReady}},
		{http.MethodGet, "/metrics", auth.MetricsRead, func(c *call) { metrics.ServeHTTP(c, c.r) }, "Metrics for Prometheus, which may send a name and a password as HTTP Basic",
			about{id: "metrics", gives: plainText, refuses: codes(reading, codeCredentials)}},
	}
}
