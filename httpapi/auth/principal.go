package auth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// The scopes that a user may have. Admin includes all others.
const (
	TasksRead   = "tasks:read" // includes MetricsRead
	TasksWrite  = "tasks:write"
	PacksWrite  = "packs:write"
	NodesWrite  = "nodes:write"
	UsersWrite  = "users:write"
	AuditRead   = "audit:read"
	MetricsRead = "metrics:read"
	Admin       = "admin"
)

const (
	// maxType is the longest type that a user may be allowed, in bytes.
	maxType = 255
	// maxAllowed is how much of a token all of them may take, in bytes, so that it stays below maxToken.
	maxAllowed = 4 << 10
)

// Scopes returns all of them.
func Scopes() []string {
	return []string{TasksRead, TasksWrite, PacksWrite, NodesWrite, UsersWrite, AuditRead, MetricsRead, Admin}
}

// CheckScopes says what is wrong with a list of scopes.
func CheckScopes(scopes []string) error {
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return fmt.Errorf("there is no scope %q: write any of %s", s, strings.Join(Scopes(), ", "))
		}
	}
	return nil
}

// CheckAllowed says what is wrong with a list of types, or patterns, that a user is to be allowed.
func CheckAllowed(allowed []string) error {
	for _, pattern := range allowed {
		name, wild := strings.CutSuffix(pattern, ".*")
		if pattern == "*" {
			continue
		}
		odd := func(r rune) bool { return r == '*' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
		if name == "" || wild && strings.HasPrefix(name, ".") || len(pattern) > maxType || strings.ContainsFunc(name, odd) {
			return fmt.Errorf("allowed_tasks has no use for %.80q: write a type such as pack.main.task, all of a pack as pack.*, or * for all", pattern)
		}
	}
	if text, _ := json.Marshal(allowedMap(allowed, nil)); len(text) > maxAllowed {
		return fmt.Errorf("allowed_tasks takes %d bytes of a token, %d is the limit: write pack.* in the place of the types of a pack", len(text), maxAllowed)
	}
	return nil
}

// Rights are what somebody may do.
type Rights struct {
	Scopes []string
	// Allowed are the types of protected tasks that may be run: a type, all of a pack as "pack.*", all as "*".
	Allowed []string
	// Denied are types that are not, whatever else is said. Tokens of the reference may name some.
	Denied []string
}

func (r *Rights) may(scope string) bool {
	return slices.Contains(r.Scopes, scope) || slices.Contains(r.Scopes, Admin) || scope == MetricsRead && slices.Contains(r.Scopes, TasksRead)
}

func (r *Rights) mayRun(taskType string) bool {
	return !slices.Contains(r.Denied, taskType) && (allows(r.Allowed, taskType) || r.may(Admin))
}

func allows(patterns []string, taskType string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, all := strings.CutSuffix(pattern, "*")
		return pattern == taskType || all && (prefix == "" || strings.HasSuffix(prefix, ".") && strings.HasPrefix(taskType, prefix))
	})
}

// Principal is who asks for something. The zero value is nobody in particular, who may do nothing.
type Principal struct {
	Sub string // the user's name, "" = nobody in particular
	// Submits and Reads are what everybody may, whatever their rights: submit tasks that are not protected, and read everything.
	Submits, Reads bool
	// Rights are those of the token, and those that its user has now: only what all of them allow is allowed.
	Rights []Rights
}

func (p *Principal) all(f func(r *Rights) bool) bool {
	for i := range p.Rights {
		if !f(&p.Rights[i]) {
			return false
		}
	}
	return len(p.Rights) > 0
}

// May says whether the principal has a scope.
func (p *Principal) May(scope string) bool {
	return (scope == TasksRead || scope == MetricsRead) && p.Reads || p.all(func(r *Rights) bool { return r.may(scope) })
}

// MayRun says whether the principal may run a protected task.
func (p *Principal) MayRun(taskType string) bool {
	return p.all(func(r *Rights) bool { return r.mayRun(taskType) })
}

// MaySubmit says whether the principal may submit a task that is not protected.
func (p *Principal) MaySubmit(taskType string) bool {
	return p.Submits || p.May(TasksWrite) || p.MayRun(taskType)
}

// Owns says whether a task of that owner is the principal's own. Those of nobody in particular are everybody's who may submit such.
func (p *Principal) Owns(owner string) bool { return p.Sub == owner || owner == "" && p.Submits }
