package history

// Kind is what a client asked for.
type Kind string

// The kinds of operations.
const (
	Submit Kind = "submit" // POST /task, with ?wait where the operation has a Record
	Batch  Kind = "batch"  // POST /tasks/batch
	Read   Kind = "read"   // GET /task/<id>
	Wait   Kind = "wait"   // GET /task/<id>?wait
	Cancel Kind = "cancel" // POST /task/<id>/cancel
	List   Kind = "list"   // GET /task, all pages
)

// Outcome is what a client knows of an operation when it is over.
type Outcome string

// The outcomes of operations. A write that is Unknown may have been done, may be done
// later, or never; a read that is not OK tells nothing.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // definitely not done
	Unknown Outcome = "unknown"
)

// The consistencies that a reader asks for.
const (
	Stale        = "stale"
	Default      = "default"
	Linearizable = "linearizable"
)

// Op is one operation of one client: what was asked of which node, when, and what came
// of it.
type Op struct {
	Client  int     `json:"client"`
	Kind    Kind    `json:"kind"`
	Node    string  `json:"node"`   // the name of the node asked
	Call    int64   `json:"call"`   // ns since the recorder's start
	Return  int64   `json:"return"` // ns since the recorder's start
	Outcome Outcome `json:"outcome"`

	// Code is the code of the answer's error, or "io" if there was no whole answer; ""
	// where all went well. A read that finds no task is OK, with the code not_found.
	Code string `json:"code,omitempty"`
	// Key is the Idempotency-Key that was sent, Payload stands for the body sent with it.
	Key     string `json:"key,omitempty"`
	Payload string `json:"payload,omitempty"`
	// Tasks are what a submit or a batch asked for; reads and cancels name one by its id.
	Tasks []Task `json:"tasks,omitempty"`
	// Final is the status that the answer to a submit or a cancel gave, if it is a final
	// one.
	Final string `json:"final,omitempty"`
	// Consistency is what a read or a list asked for.
	Consistency string `json:"consistency,omitempty"`
	// Record is what was read; nil where nothing was.
	Record *Record `json:"record,omitempty"`
	// Listed is what a list found of this workload.
	Listed []Listed `json:"listed,omitempty"`
}

// Task is a task as it was asked for.
type Task struct {
	// ID is the caller's own, or the one in the answer. That of an answer with an unknown
	// outcome is the id that the task has if it was queued by that very request.
	ID string `json:"id,omitempty"`
	// N numbers the tasks of a workload from 1; a request that is sent again keeps it.
	N           int    `json:"n,omitempty"`
	Func        string `json:"func,omitempty"`
	Ms          int    `json:"ms,omitempty"`
	Fail        int    `json:"fail,omitempty"` // its first attempts that fail, -1 = all
	MaxAttempts int    `json:"max_attempts,omitempty"`
}

// Record is what a node told of a task.
type Record struct {
	Status  string `json:"status"` // Absent if there is none
	Attempt int    `json:"attempt,omitempty"`
	Node    string `json:"node,omitempty"` // that ran it last
	Result  string `json:"result,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Past    []Past `json:"past,omitempty"`
	// Sum is a checksum of the answer's whole body, by which final records are compared.
	Sum string `json:"sum,omitempty"`
}

// Past is an attempt before the last one, as a record tells of it.
type Past struct {
	Attempt int    `json:"attempt"`
	Node    string `json:"node"`
	Reason  string `json:"reason"`
}

// Listed is a task of this workload in a list.
type Listed struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

// Absent is the status of a task that a node does not know.
const Absent = "ABSENT"

// Final says whether the record will never change.
func (r *Record) Final() bool { return final(r.Status) }

func final(status string) bool {
	return status == "SUCCESS" || status == "FAILURE" || status == "REVOKED"
}

// Event is what was done to the cluster, beside what its clients asked.
type Event struct {
	At   int64  `json:"at"` // ns since the recorder's start
	Kind string `json:"kind"`
	Node string `json:"node,omitempty"`
}

// Down is the kind of the event that a node's process has ended: none of its code runs
// after it, and its next start may know less than this one did. Other kinds of events
// are for the reader of a history.
const Down = "down"
