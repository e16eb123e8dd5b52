package httpapi

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"pytasks/fsm"
)

const (
	// maxBatch is how many tasks one POST /tasks/batch may hold.
	maxBatch = 10_000
	// maxFaults is how many faults the answer to a batch lists.
	maxFaults = 100
	// keepKey is how long an Idempotency-Key is remembered.
	keepKey = 24 * time.Hour
	// maxKeyLen is the longest Idempotency-Key, in characters.
	maxKeyLen = 255
)

// What the reference says before the reason when a field is missing.
const (
	needType  = "You need to inform type"
	needArgs  = "You need to inform args dict"
	needTasks = "You need to inform tasks list"
)

// submit is POST /task.
func (c *call) submit() {
	var f fields
	raw, ok := c.object("type", needType, func(s *scanner, key []byte) { f.set(key, s.value()) })
	if !ok {
		return
	}
	wait, err := parseWait(c.query())
	if err != nil {
		c.badQuery(err.Error())
		return
	}
	c.submitOne(&f, wait, raw)
}

// submitOne queues a task and answers, after its result if that is waited for. request is what an Idempotency-Key stands for.
func (c *call) submitOne(f *fields, wait time.Duration, request ...[]byte) {
	n := new(fsm.New)
	if p := c.check(f, n); p != nil {
		c.refuse(p)
		return
	}
	key := fsm.NewKey(c.api.Now())
	n.Key = key[:]
	out, ok := c.queue([]*fsm.New{n}, request...)
	if !ok {
		return
	}

	c.queued(out, n.Type, wait)
}

// queued answers with a task that has just been queued, or with its result if that is there in time.
func (c *call) queued(out *fsm.Outcome, typ string, wait time.Duration) {
	id := out.Ids[0]
	c.w.Header()["Location"] = []string{"/task/" + id}
	if wait > 0 {
		if t, err := c.await(id, wait); err == nil && c.sendTask(t, awaited(t)) == nil {
			return
		}
		// It is queued all the same, and the caller must have its id.
		c.accepted(http.StatusAccepted, id, typ, out.Status)
		return
	}
	c.accepted(http.StatusOK, id, typ, out.Status)
}

// accepted answers with a task that is queued.
func (c *call) accepted(code int, id, typ string, status fsm.Status) {
	b := append(c.buf[:0], `{"id":`...)
	b = appendString(b, id)
	b = append(b, `,"type":`...)
	b = appendString(b, typ)
	b = append(b, `,"status":"`...)
	b = append(b, status.String()...)
	c.buf = append(b, '"', '}')
	c.sendJSON(code)
}

// submitBatch is POST /tasks/batch.
func (c *call) submitBatch() {
	var batch []fields
	var odd []byte
	given := false
	raw, ok := c.object("tasks", needTasks, func(s *scanner, key []byte) {
		if string(key) != "tasks" {
			odd = key
			s.value()
			return
		}
		batch, given = scanBatch(s, batch[:0])
	})
	if !ok {
		return
	}
	switch {
	case !given:
		c.refuse(missing("tasks", needTasks).hint(slipOf(odd, "tasks")))
		return
	case len(batch) == 0:
		c.refuse(invalid("tasks", needTasks+" of at least one task"))
		return
	case len(batch) > maxBatch:
		c.refuse(&problem{
			status: http.StatusRequestEntityTooLarge, code: codeTooLarge,
			message: fmt.Sprintf("the batch holds more than %d tasks: send it in parts", maxBatch),
		})
		return
	}

	// One allocation for all of a kind: a batch may be large.
	var (
		records = make([]fsm.New, len(batch))
		keys    = make([]fsm.Key, len(batch))
		tasks   = make([]*fsm.New, len(batch))
		bad     []batchFault
	)
	for i := range batch {
		if p := c.check(&batch[i], &records[i]); p != nil {
			if bad = append(bad, batchFault{i, p}); len(bad) == maxFaults {
				break
			}
		}
		keys[i] = fsm.NewKey(c.api.Now())
		records[i].Key = keys[i][:]
		tasks[i] = &records[i]
	}
	if bad != nil {
		c.refuseBatch(bad)
		return
	}
	out, ok := c.queue(tasks, raw)
	if !ok {
		return
	}
	c.buf = appendStrings(append(c.buf[:0], `{"ids":`...), out.Ids)
	c.buf = append(c.buf, '}')
	c.sendJSON(http.StatusOK)
}

// scanBatch reads the list of tasks; ok is false if it is none. It stops to
// keep them beyond the limit.
func scanBatch(s *scanner, batch []fields) (_ []fields, ok bool) {
	if s.peek() != '[' {
		s.value()
		return batch, false
	}
	s.open('[')
	for n := 0; s.more(']', n); n++ {
		var f fields
		if s.peek() == '{' && len(batch) <= maxBatch {
			s.open('{')
			for m := 0; s.more('}', m); m++ {
				key := s.key()
				f.set(key, s.value())
			}
		} else {
			s.value()
		}
		if len(batch) <= maxBatch {
			batch = append(batch, f)
		}
	}
	return batch, true
}

// batchFault is why a task of a batch is refused.
type batchFault struct {
	task int
	*problem
}

// refuseBatch answers as if the first bad task had come alone, with the faults
// of all of them.
func (c *call) refuseBatch(bad []batchFault) {
	first := bad[0]
	message := first.message
	if first.field != "" {
		message = first.message + ": " + first.text
	}
	b := append(c.buf[:0], `{"message":`...)
	b = appendString(b, message)
	b = append(b, `,"code":`...)
	b = appendString(b, first.code)
	b = append(b, `,"errors":[`...)
	listed := 0
	for _, p := range bad {
		for _, f := range p.asFaults() {
			if listed++; listed > maxFaults {
				break
			}
			b = append(appendFault(b, p.task, &f), ',')
		}
	}
	b[len(b)-1] = ']'
	c.refused(first.status, b)
}

// queue submits tasks. When ok is false the request has been answered.
func (c *call) queue(tasks []*fsm.New, request ...[]byte) (*fsm.Outcome, bool) {
	s := &fsm.Submit{Tasks: tasks}
	if !c.idempotency(s, request...) {
		return nil, false
	}
	ctx, cancel := c.boundedFor(c.large)
	defer cancel()
	out, err := c.api.Tasks.Submit(c.acting(ctx), s)
	c.release() // a wait for the result may be long
	switch code := codeOf(err); {
	case err == nil:
		return out, true
	case code == codeUnknown || code == codeTimeout:
		c.failWrite(err, idsOf(tasks)...)
	case code == codeDiskFull && out.GetNode() != 0:
		c.failWrite(&diskFull{c.api.Tasks.NodeName(out.GetNode())})
	default:
		c.failWrite(err, out.GetIds()...)
	}
	return nil, false
}

// idsOf returns the ids that tasks have if they were queued.
func idsOf(tasks []*fsm.New) []string {
	ids := make([]string, len(tasks))
	for i, n := range tasks {
		if ids[i] = n.Name; n.Name == "" {
			ids[i] = fsm.Key(n.Key).String()
		}
	}
	return ids
}

// idempotency reads the Idempotency-Key header. What it stands for is the
// method, the path and request: the body as sent, and what else says what is to be done.
func (c *call) idempotency(s *fsm.Submit, request ...[]byte) bool {
	given, ok := c.r.Header["Idempotency-Key"]
	if !ok {
		return true
	}
	key := given[0]
	good := len(given) == 1 && len(key) >= 1 && len(key) <= maxKeyLen
	for i := 0; i < len(key); i++ {
		good = good && key[i] >= 0x20 && key[i] < 0x7F
	}
	if !good {
		c.refuse(&problem{
			status: http.StatusBadRequest, code: codeBadRequest,
			message: fmt.Sprintf("the Idempotency-Key header must be given once, as 1 to %d printable ASCII characters", maxKeyLen),
		})
		return false
	}
	h := sha256.New()
	h.Write([]byte(c.r.Method + " " + c.r.URL.Path + "\n"))
	for _, part := range request {
		h.Write(part)
	}
	s.IdempotencyKey = key
	s.BodyHash = h.Sum(nil)
	s.KeepKeyMs = keepKey.Milliseconds()
	return true
}
