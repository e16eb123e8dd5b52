package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/openapi"
)

// What stands here is for the description alone: bodies that are read by the scanner and written by appending, because they hold
// JSON of callers that is passed through. The tests hold every answer that they get against it (described_test.go).

// span is a length of time in a body.
type span struct{}

func (span) JSONSchema() string {
	return `{"anyOf":[{"type":"number"},{"type":"string"}],"description":"Seconds (1.5), or a text with a unit (\"90s\", \"1h30m\")."}`
}

// moment is a point in time in a body.
type moment struct{}

func (moment) JSONSchema() string {
	return `{"anyOf":[{"type":"number"},{"type":"string"}],"description":"RFC 3339, or seconds since 1970."}`
}

// anyObject is an object whose members are the caller's.
type anyObject struct{}

func (anyObject) JSONSchema() string { return `{"type":"object"}` }

// status is that of a task.
type statusShape struct{}

func (statusShape) JSONSchema() string {
	return `{"type":"string","enum":["` + strings.ReplaceAll(statusNames(), ", ", `","`) + `"]}`
}

// tagList are the tags of a new task.
type tagList struct{}

func (tagList) JSONSchema() string {
	return fmt.Sprintf(`{"type":"array","items":{"type":"string","minLength":1,"maxLength":%d},"maxItems":%d,"description":"To find it by."}`, maxTagLen, maxTags)
}

// whereShape are the labels that a task's node must have.
type whereShape struct{}

func (whereShape) JSONSchema() string {
	return fmt.Sprintf(`{"type":"object","maxProperties":%d,"additionalProperties":{"type":"string"},"description":"Labels that its node must have. Without such a node it waits."}`, fsm.MaxWhere)
}

// newTaskID is the id that a caller gives a task.
type newTaskID struct{}

func (newTaskID) JSONSchema() string {
	return fmt.Sprintf(`{"type":"string","pattern":"^[A-Za-z0-9._:-]{1,%d}$","description":"An id of your choice; else a UUID is made."}`, maxIDLen)
}

// priority is that of a new task.
type priority struct{}

func (priority) JSONSchema() string {
	return fmt.Sprintf(`{"type":"integer","minimum":0,"maximum":9,"default":%d,"description":"Higher first; equals in order."}`, fsm.DefaultPriority)
}

// newRetryShape says when failed attempts are tried again.
type newRetryShape struct{}

func (newRetryShape) JSONSchema() string {
	const wait = `{"anyOf":[{"type":"number"},{"type":"string"}],"description":"%s In seconds, or with a unit.","default":"%v"}`
	return fmt.Sprintf(`{"type":"object","additionalProperties":false,"properties":{`+
		`"max_attempts":{"type":"integer","minimum":1,"maximum":%d,"default":%d},"initial":`+wait+`,"max":`+wait+
		`,"factor":{"type":"number","minimum":1,"maximum":%d,"default":%d},"jitter":{"type":"number","minimum":0,"maximum":1,"default":%v}},`+
		`"description":"Failed attempts are tried again, on another node if there is one, after initial, initial·factor and so on, at most max, ± jitter."}`,
		maxAttempts, defaultAttempts, "Before the second attempt.", defaultInitial, "At most.", defaultMax, maxFactor, defaultFactor, defaultJitter)
}

// newTaskShape is the body of POST /task, see fields.
type newTaskShape struct {
	Type     string        `json:"type" required:"true" doc:"One of GET /tasks, such as test.main.add."`
	Args     anyObject     `json:"args" required:"true" doc:"What the task is called with. POST /run/{type} says what each type takes."`
	Priority priority      `json:"priority"`
	Delay    span          `json:"delay"`
	Eta      moment        `json:"eta"`
	Timeout  span          `json:"timeout"`
	Retry    newRetryShape `json:"retry"`
	ID       newTaskID     `json:"id"`
	Tags     tagList       `json:"tags"`
	Where    whereShape    `json:"where"`
}

// labelChangeShape is the body of POST /nodes/:name/labels.
type labelChangeShape struct{}

func (labelChangeShape) JSONSchema() string {
	const label = `"pattern":"^[A-Za-z0-9._/-]{1,63}$"`
	return `{"type":"object","additionalProperties":{"type":["string","null"],` + label + `},"description":"Labels to set; null takes one away."}`
}

// batchShape is the body of POST /tasks/batch.
type batchShape struct {
	Tasks []newTaskShape `json:"tasks" required:"true" doc:"Up to 10,000: all are queued, or none."`
}

// batchQueuedShape is the answer to it.
type batchQueuedShape struct {
	IDs []string `json:"ids" doc:"In the order of the tasks."`
}

// taskShape is a task. Lists leave out args and results, an answer that did not wait has id, type and status alone.
type taskShape struct {
	ID         string             `json:"id"`
	Status     statusShape        `json:"status"`
	Result     json.RawMessage    `json:"result,omitempty" doc:"What the task returned; {} unless status is SUCCESS."`
	Type       string             `json:"type"`
	Args       anyObject          `json:"args,omitempty"`
	Release    string             `json:"release,omitempty" doc:"That of its pack."`
	Attempt    int                `json:"attempt,omitempty" doc:"0 = it has not started."`
	Node       string             `json:"node,omitempty" doc:"That of its last attempt."`
	Owner      string             `json:"owner,omitempty" doc:"Who submitted it."`
	CreatedAt  time.Time          `json:"created_at,omitempty"`
	DueAt      time.Time          `json:"due_at,omitempty"`
	AssignedAt time.Time          `json:"assigned_at,omitempty" doc:"Since when it is its node's, while it is STARTED."`
	StartedAt  time.Time          `json:"started_at,omitempty"`
	FinishedAt time.Time          `json:"finished_at,omitempty"`
	Priority   int                `json:"priority,omitempty"`
	Tags       []string           `json:"tags,omitempty"`
	Where      map[string]string  `json:"where,omitempty" doc:"Labels that its node must have."`
	Timeout    float64            `json:"timeout,omitempty" doc:"Of an attempt, in seconds."`
	Retry      *retryShape        `json:"retry,omitempty"`
	Reason     string             `json:"reason,omitempty" doc:"Why it failed: error, panic, timeout, crash, memory, worker_lost or pack_removed."`
	Progress   *progressShape     `json:"progress,omitempty" doc:"While it runs, if it says."`
	Error      *taskErrorShape    `json:"error,omitempty"`
	Attempts   []pastAttemptShape `json:"attempts,omitempty" doc:"Those before the last."`
}

type retryShape struct {
	MaxAttempts int     `json:"max_attempts"`
	Initial     float64 `json:"initial" doc:"In seconds."`
	Factor      float64 `json:"factor"`
	Max         float64 `json:"max" doc:"In seconds."`
	Jitter      float64 `json:"jitter"`
}

type progressShape struct {
	Fraction float64 `json:"fraction" doc:"0 to 1."`
	Text     string  `json:"text"`
}

type taskErrorShape struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback,omitempty"`
}

type pastAttemptShape struct {
	Attempt   int       `json:"attempt"`
	Node      string    `json:"node"`
	StartedAt time.Time `json:"started_at,omitempty"`
	EndedAt   time.Time `json:"ended_at,omitempty"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
}

// taskListShape is the answer to GET /task.
type taskListShape struct {
	Items      []taskShape `json:"items"`
	NextCursor string      `json:"next_cursor,omitempty" doc:"For ?cursor=; absent at the end."`
}

// revokedShape is the answer to POST /task/:id/cancel.
type revokedShape struct {
	ID     string      `json:"id"`
	Status statusShape `json:"status"`
}

// taskTypesShape is the answer to GET /tasks.
type taskTypesShape map[string]taskTypeShape

type taskTypeShape struct {
	Protected bool              `json:"require_authorization"`
	Args      map[string]string `json:"args" doc:"The types of the parameters, as Python writes annotations."`
}

// jwksShape is the answer to GET /.well-known/jwks.json, of RFC 7517.
type jwksShape struct {
	Keys []anyObject `json:"keys"`
}

// credentialsShape is the body of GET and POST /token.
type credentialsShape struct {
	User     string `json:"user" required:"true"`
	Password string `json:"password" required:"true"`
}

// packFromShape is a body of POST /packs, see namedPack.
type packFromShape struct {
	URL    string `json:"url" doc:"Of an archive."`
	Name   string `json:"name" doc:"Of a pack in the indexes that the node knows; with url, what to call the pack."`
	SHA256 string `json:"sha256" doc:"What the archive must have."`
}

// refusalShape is every answer that refuses.
type refusalShape struct {
	Message   string      `json:"message" doc:"For people."`
	Code      string      `json:"code" doc:"For programs; it does not change."`
	RequestID string      `json:"request_id" doc:"That of X-Request-Id; the node's log has it where something broke."`
	Detail    string      `json:"detail,omitempty"`
	Errors    faultsShape `json:"errors,omitempty"`
	ID        string      `json:"id,omitempty" doc:"Of the task that it is about, or that may have been queued."`
	IDs       []string    `json:"ids,omitempty"`
	Status    statusShape `json:"status,omitempty" doc:"Of the task that is finished already."`
}

// faultsShape are the faults of a request.
type faultsShape struct{}

func (faultsShape) JSONSchema() string {
	const text = `{"type":"string"}`
	return `{"description":"Every fault of a task; of a body that lacks a field, that field.","anyOf":[` +
		`{"type":"array","items":{"type":"object","properties":{"task":{"type":"integer","description":"Which of a batch."},"param":` + text +
		`,"code":` + text + `,"message":` + text + `,"got":` + text + `,"want":` + text + `},"required":["message"]}},` +
		`{"type":"object","additionalProperties":` + text + `}]}`
}

// Answers that are neither what was asked for nor refusals.
var (
	unchanged = []openapi.Answer{{Status: 304, Doc: "It is still what If-None-Match names."}}
	notReady  = []openapi.Answer{{Status: 503, Doc: "A check does not hold.", Content: []openapi.Content{{Type: string(plainText), Schema: anyText}}}}
)

// anyText is the schema of a parameter that may be any text.
var anyText = openapi.Object{{Name: "type", Value: "string"}}

// shared returns a parameter of many operations.
func shared(p openapi.Param) openapi.Param {
	p.Shared = p.Name
	return p
}

func inQuery(name, doc, schema string) openapi.Param {
	return openapi.Param{Name: name, In: openapi.InQuery, Doc: doc, Schema: openapi.MustParse(schema)}
}

// The parameters of requests.
var (
	waitParam        = shared(inQuery("wait", "Hold the answer back for the result, so long at most: seconds, or with a unit (`10s`). 202 if it is not there in time.", `{"type":"string"}`))
	consistencyParam = inQuery("consistency", "`stale`: what this node has; `linearizable`: everything that was answered before.", `{"type":"string","enum":["default","stale","linearizable"]}`)
	releaseParam     = inQuery("release", "One of the pack's releases.", `{"type":"string"}`)
	idempotencyParam = openapi.Param{
		Name: "Idempotency-Key", Shared: "Idempotency-Key", In: openapi.InHeader, Doc: "Makes the request safe to send again for 24 h: the same one gets the first answer.",
		Schema: openapi.MustParse(fmt.Sprintf(`{"type":"string","minLength":1,"maxLength":%d}`, maxKeyLen)),
	}
	runParams = []openapi.Param{
		waitParam,
		shared(inQuery("priority", "0 to 9, higher first.", fmt.Sprintf(`{"type":"integer","minimum":0,"maximum":9,"default":%d}`, fsm.DefaultPriority))),
		shared(inQuery("delay", "Start later: seconds, or with a unit.", `{"type":"string"}`)),
		shared(inQuery("eta", "Start at a time: RFC 3339, or seconds since 1970.", `{"type":"string"}`)),
		shared(inQuery("timeout", "Of one attempt: seconds, or with a unit.", `{"type":"string"}`)),
		shared(inQuery("id", "An id of your choice; else a UUID is made.", fmt.Sprintf(`{"type":"string","pattern":"^[A-Za-z0-9._:-]{1,%d}$"}`, maxIDLen))),
		{Name: "tag", Shared: "tag", In: openapi.InQuery, Doc: "To find it by.", Schema: anyText, Many: true},
		{Name: "where", Shared: "where", In: openapi.InQuery, Doc: "A label that its node must have: KEY=VALUE.", Schema: anyText, Many: true},
		shared(inQuery("max_attempts", "How often it is tried if it fails.", fmt.Sprintf(`{"type":"integer","minimum":1,"maximum":%d}`, maxAttempts))),
		idempotencyParam,
	}
	listParams = []openapi.Param{
		inQuery("status", "", statusShape{}.JSONSchema()), inQuery("type", "", `{"type":"string"}`), inQuery("tag", "", `{"type":"string"}`),
		inQuery("limit", "", fmt.Sprintf(`{"type":"integer","minimum":1,"maximum":%d,"default":%d}`, maxLimit, defaultLimit)),
		inQuery("cursor", "`next_cursor` of the answer before.", `{"type":"string"}`), consistencyParam,
	}
	auditParams = []openapi.Param{
		inQuery("after", "A log index, as the lines have it.", `{"type":"integer","minimum":0,"default":0}`),
		inQuery("limit", "", fmt.Sprintf(`{"type":"integer","minimum":1,"maximum":%d,"default":%d}`, maxAudit, defaultAudit)),
	}
	installParams = []openapi.Param{
		inQuery("name", "What to call the pack of an archive.", `{"type":"string"}`),
		inQuery("sha256", "What the archive must have.", `{"type":"string","pattern":"^[0-9a-fA-F]{64}$"}`),
	}
	removeParams = []openapi.Param{releaseParam, inQuery("force", "Even if tasks need it, which fail then.", `{"type":"boolean","default":false}`)}
	drainParams  = []openapi.Param{
		inQuery("timeout", "What runs there may take so long: seconds, or with a unit (`10s`); else as long as when the node is stopped.", `{"type":"string"}`),
		inQuery("force", "Even if no other node takes tasks then.", `{"type":"boolean","default":false}`),
	}
	forgetParam = inQuery("forget", "Begin with the labels that the node was started with.", `{"type":"boolean","default":false}`)
	followParam = inQuery("follow", "Go on until the task is finished.", `{"type":"string","enum":["1","0","true","false"]}`)
)
