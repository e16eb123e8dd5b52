package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// Keys are those of tokens.
type Keys interface {
	// Set returns what tokens are signed and judged with now.
	Set() *auth.KeySet
	// CatchUp returns when this node has the keys that the cluster has.
	CatchUp(ctx context.Context) error
	// List returns all, the one that signs first.
	List() []KeyView
	// Renew makes a new key that signs from now on.
	Renew(ctx context.Context) error
}

// KeyView is a key of tokens as it is shown.
type KeyView struct {
	ID          string     `json:"id"`
	Algorithm   string     `json:"algorithm"`
	Signs       bool       `json:"signs"`
	CreatedAt   *time.Time `json:"created_at,omitempty"`
	VerifyUntil *time.Time `json:"verify_until,omitempty" doc:"Absent: no end."`
}

// Secrets is the secret of the cluster.
type Secrets interface {
	// Rotation returns how far a change of it is.
	Rotation(ctx context.Context) RotationView
	// Rotate begins one to the secret of that text. Its errors are *SecretError where the caller is at fault.
	Rotate(ctx context.Context, text string) error
}

// RotationView is how far a change of the secret is.
type RotationView struct {
	From     string   `json:"from,omitempty" doc:"The id of a secret."`
	To       string   `json:"to,omitempty" doc:"The id of a secret."`
	Phase    uint32   `json:"phase" doc:"0 = none is under way, 1 = both are honoured, 2 = the new one is used."`
	WaitsFor []string `json:"waits_for,omitempty" doc:"Names of nodes."`
}

// SecretError says why a secret is not taken.
type SecretError struct{ Message string }

// Error returns the message.
func (e *SecretError) Error() string { return e.Message }

// Audit is who did what.
type Audit interface {
	EachAudit(after uint64, out func(fsm.AuditRecord) error) error
}

// maxStrict is the largest body of a request about users and the like, in bytes: less than what counts as large, so that whoever
// has no rights takes no room from tasks.
const maxStrict = firstRead - 1

// strict reads a body of JSON that has nothing in it but what v, a pointer to a struct, has: by the same names, and each once. When
// it returns false the request has been answered.
func (c *call) strict(v any) bool {
	c.most = maxStrict
	raw, p := c.body()
	if p != nil {
		c.refuse(p)
		return false
	}
	known, seen := fieldNames(v), map[string]bool{}
	var bad error
	err := c.scan(raw, func(s *scanner, key []byte) {
		s.value()
		name := string(key)
		switch {
		case bad != nil:
		case !slices.Contains(known, name):
			bad = fmt.Errorf("unknown field %.80q: it has %s", name, strings.Join(known, ", "))
			if slip := slipOf(key, known...); slip != nil {
				bad = fmt.Errorf("unknown field %q: did you mean %s?", name, slip.meant)
			}
		case seen[name]:
			bad = fmt.Errorf("%s is in it twice", name)
		}
		seen[name] = true
	})
	if err == nil {
		err = bad
	}
	if err == nil {
		raw, err = decodeText(raw)
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err == nil {
		return true
	}
	c.badQuery("the body cannot be used: " + err.Error())
	return false
}

// fieldNames returns the names that the fields of a struct have in JSON.
func fieldNames(v any) (names []string) {
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// jwks is GET /.well-known/jwks.json.
func (c *call) jwks() {
	c.buf = append(c.buf[:0], c.api.Keys.Set().JWKS()...)
	c.sendJSON(http.StatusOK)
}

// keyListView is the answer to GET /keys.
type keyListView struct {
	Keys []KeyView `json:"keys" doc:"The one that signs first."`
}

// keys is GET /keys.
func (c *call) keys() {
	c.sendView(keyListView{listed(c.api.Keys.List())})
}

// rotateKeys is POST /keys/rotate.
func (c *call) rotateKeys() {
	ctx, cancel := c.bounded()
	defer cancel()
	if err := c.api.Keys.Renew(c.acting(ctx)); err != nil {
		c.failAdmin(err)
		return
	}
	c.keys()
}

// secret is GET /cluster/secret.
func (c *call) secret() {
	ctx, cancel := c.bounded()
	defer cancel()
	c.sendView(c.api.Secrets.Rotation(ctx))
}

// secretChange is the body of POST /cluster/secret.
type secretChange struct {
	Secret string `json:"secret" required:"true" doc:"As pytasks secret new makes one."`
}

// rotateSecret is POST /cluster/secret.
func (c *call) rotateSecret() {
	var body secretChange
	if !c.strict(&body) {
		return
	}
	ctx, cancel := c.bounded()
	defer cancel()
	if err := c.api.Secrets.Rotate(c.acting(ctx), body.Secret); err != nil {
		c.failAdmin(err)
		return
	}
	c.sendView(c.api.Secrets.Rotation(ctx))
}

func (c *call) failAdmin(err error) {
	var bad *SecretError
	if errors.As(err, &bad) {
		c.refuse(&problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: bad.Message})
		return
	}
	c.failWrite(err)
}

// Bounds on the lines of GET /audit.
const (
	defaultAudit = 1000
	maxAudit     = 100_000
)

// errEnough ends a walk.
var errEnough = errors.New("enough")

// auditLine is one line of GET /audit.
type auditLine struct {
	Index  uint64    `json:"index"`
	Time   time.Time `json:"time"`
	Sub    string    `json:"sub" doc:"Empty: nobody in particular."`
	Addr   string    `json:"addr"`
	Action string    `json:"action"`
	Target string    `json:"target,omitempty"`
	Code   string    `json:"code"`
	Count  uint64    `json:"count,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// actions are what commands are called in the audit log, by their number.
var actions = map[uint32]string{
	1: "submit", 5: "cancel", 9: "node.remove", 10: "node.drain", 11: "pack.install", 12: "pack.use", 13: "pack.remove",
	15: "user.put", 16: "user.remove", 17: "keys.put", 18: "secret.put", 19: "node.label",
}

// audit is GET /audit: JSON lines, the oldest first, what came after the log index ?after=. A log entry may have more than one line.
func (c *call) audit() {
	q := c.query()
	after, err := strconv.ParseUint(first(q.Get("after"), "0"), 10, 64)
	if err != nil {
		c.badQuery("after must be a log index, as the lines have it")
		return
	}
	limit, err := strconv.Atoi(first(q.Get("limit"), strconv.Itoa(defaultAudit)))
	if err != nil || limit < 1 || limit > maxAudit {
		c.badQuery(fmt.Sprintf("limit must be a whole number from 1 to %d", maxAudit))
		return
	}
	b := c.buf[:0]
	n, last := 0, uint64(0)
	err = c.api.Audit.EachAudit(after, func(r fsm.AuditRecord) error {
		if n >= limit && r.Index != last { // entries are whole, so that ?after= goes on where this ends
			return errEnough
		}
		action := actions[r.Action]
		if action == "" {
			action = "command." + strconv.FormatUint(uint64(r.Action), 10)
		}
		line, err := json.Marshal(auditLine{
			r.Index, time.UnixMilli(r.TimeMs).UTC(), r.Sub, r.Addr, action, r.Target, r.Code.String(), r.Count, r.Detail,
		})
		b, n, last = append(append(b, line...), '\n'), n+1, r.Index
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		c.failRead(err)
		return
	}
	c.buf = b
	c.send(http.StatusOK, typeLines, c.buf)
}
