package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// Users are those of the cluster. Errors carry the codes of package fsm.
type Users interface {
	// User returns a user as this node knows it, nil if there is none.
	User(name string) *fsm.User
	// Find returns a user as the cluster knows it, nil if there is none.
	Find(ctx context.Context, name string) (*fsm.User, error)
	// Users returns all, by name.
	Users() []*fsm.User
	UserPut(ctx context.Context, u *fsm.UserPut) error
	UserRemove(ctx context.Context, name string) error
}

// userView is a user as it is shown: without the password's hash.
type userView struct {
	Name         string    `json:"name"`
	Scopes       []string  `json:"scopes"`
	AllowedTasks []string  `json:"allowed_tasks"`
	CreatedAt    time.Time `json:"created_at"`
	ChangedAt    time.Time `json:"changed_at"`
}

func viewUser(u *fsm.User) userView {
	return userView{
		Name: u.Name, Scopes: append([]string{}, u.Scopes...), AllowedTasks: append([]string{}, u.AllowedTasks...),
		CreatedAt: time.UnixMilli(u.CreatedMs).UTC(), ChangedAt: time.UnixMilli(u.ChangedMs).UTC(),
	}
}

// userListView is the answer to GET /users.
type userListView struct {
	Users []userView `json:"users"`
}

// users is GET /users.
func (c *call) users() {
	list := []userView{}
	for _, u := range c.api.Users.Users() {
		list = append(list, viewUser(u))
	}
	c.sendView(userListView{list})
}

// user is GET /users/:name.
func (c *call) user() {
	ctx, cancel := c.bounded()
	defer cancel()
	u, ok := c.findUser(ctx, c.params.ByName("name"))
	if ok && u == nil {
		c.noSuchUser()
	} else if ok {
		c.sendView(viewUser(u))
	}
}

// findUser returns a user, nil if there is none. When ok is false the request has been answered.
func (c *call) findUser(ctx context.Context, name string) (u *fsm.User, ok bool) {
	u, err := c.api.Users.Find(ctx, name)
	if err != nil {
		c.failRead(err)
		return nil, false
	}
	return u, true
}

func (c *call) noSuchUser() {
	c.refuse(&problem{status: http.StatusNotFound, code: codeNotFound, message: "there is no user " + c.params.ByName("name") + ": GET /users lists them"})
}

// userChange is the body of POST /users. What is nil stays as it is.
type userChange struct {
	Name         string          `json:"name" required:"true"`
	Password     *string         `json:"password" doc:"A new user needs one."`
	Scopes       *[]string       `json:"scopes"`
	AllowedTasks json.RawMessage `json:"allowed_tasks" doc:"Protected tasks: a list such as [\"pack.main.task\", \"pack.*\"], or an object such as {\"pack.main.task\": true}."`
	Create       bool            `json:"create" doc:"Refused if there is one of that name."`
}

// putUser is POST /users: it makes a user, or changes one.
func (c *call) putUser() {
	var change userChange
	if !c.strict(&change) {
		return
	}
	ctx, cancel := c.bounded()
	defer cancel()
	old, ok := c.findUser(ctx, change.Name)
	if !ok {
		return
	}
	put, p := change.put(old)
	if p == nil {
		p = c.mayPut(old, put)
	}
	if p != nil {
		c.refuse(p)
		return
	}
	if change.Password != nil {
		if put.PasswordHash, ok = c.hash(ctx, *change.Password); !ok {
			return
		}
	}
	if err := c.api.Users.UserPut(c.acting(ctx), put); err != nil {
		c.failUser(err)
		return
	}
	u, ok := c.findUser(ctx, change.Name)
	if ok && u == nil {
		c.noSuchUser() // removed at this very moment
	} else if ok {
		c.sendView(viewUser(u))
	}
}

// hash returns the hash of a password. When ok is false the request has been answered.
func (c *call) hash(ctx context.Context, password string) (text string, ok bool) {
	text, err := c.api.hasher.Hash(ctx, password)
	if err != nil {
		c.failHash(err)
	}
	return text, err == nil
}

// failHash answers a request whose password could not be looked at.
func (c *call) failHash(err error) {
	if !errors.Is(err, auth.ErrBusy) {
		c.failRead(err)
		return
	}
	c.w.Header()["Retry-After"] = []string{"1"}
	c.refuse(&problem{status: http.StatusTooManyRequests, code: codeTooMany, message: err.Error()})
}

// put makes a command of a change of old, nil = there is no such user yet. The password's hash is left out.
func (u *userChange) put(old *fsm.User) (*fsm.UserPut, *problem) {
	var faults []string
	if !goodName(u.Name) {
		faults = append(faults, "name must have 1 to 64 letters, digits, or any of . _ - @")
	}
	if u.Password != nil {
		if err := auth.Check(*u.Password); err != nil {
			faults = append(faults, err.Error())
		}
	} else if old == nil {
		faults = append(faults, "there is no user "+u.Name+" yet: a new one needs a password")
	}
	put := &fsm.UserPut{Name: u.Name, Scopes: old.GetScopes(), AllowedTasks: old.GetAllowedTasks(), Create: old == nil, KeepRights: u.Scopes == nil && u.AllowedTasks == nil && old != nil}
	if u.Scopes != nil {
		put.Scopes = distinct(*u.Scopes)
		if err := auth.CheckScopes(*u.Scopes); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if u.AllowedTasks != nil {
		var ok bool
		put.AllowedTasks, ok = auth.ParseAllowed(u.AllowedTasks)
		put.AllowedTasks = distinct(put.AllowedTasks)
		if err := auth.CheckAllowed(put.AllowedTasks); ok && err != nil {
			faults = append(faults, err.Error())
		}
		if !ok {
			faults = append(faults, `allowed_tasks must be a list such as ["pack.main.task", "pack.*"], or an object such as {"pack.main.task": true}`)
		}
	}
	if faults != nil {
		return nil, &problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: strings.Join(faults, "; ")}
	}
	if u.Create && old != nil {
		return nil, &problem{status: http.StatusConflict, code: "conflict", message: "there is a user " + u.Name + " already"}
	}
	return put, nil
}

// distinct returns a list without what is in it a second time.
func distinct(list []string) (once []string) {
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

func goodName(name string) bool {
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@", r)) {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// mayPut says why a caller who may write users may not make this change: nobody gives what they do not have, or takes the place of
// somebody who may do more.
func (c *call) mayPut(old *fsm.User, put *fsm.UserPut) *problem {
	if c.who.May(auth.Admin) {
		return nil
	}
	for _, scope := range slices.Concat(old.GetScopes(), put.Scopes) {
		if !c.who.May(scope) {
			return &problem{status: http.StatusForbidden, code: codeForbidden, message: fmt.Sprintf("only who has the scope %s may give it, or change a user who has it", scope)}
		}
	}
	return nil
}

// removeUser is DELETE /users/:name.
func (c *call) removeUser() {
	ctx, cancel := c.bounded()
	defer cancel()
	name := c.params.ByName("name")
	if !c.mayChange(ctx, name) {
		return
	}
	if err := c.api.Users.UserRemove(c.acting(ctx), name); err != nil {
		c.failUser(err)
		return
	}
	c.sendView(doneView{name, "removed"})
}

func (c *call) failUser(err error) {
	switch code := codeOf(err); code {
	case codeNotFound:
		c.noSuchUser()
	case codeUnknown, codeTimeout:
		c.w.Header()["Retry-After"] = []string{"1"}
		c.refuse(&problem{status: http.StatusServiceUnavailable, code: codeUnknown, message: "the outcome is unknown: ask GET /users, or send it again"})
	default:
		c.failWrite(err)
	}
}

// passwordChange is the body of POST /users/:name/password.
type passwordChange struct {
	Old *string `json:"old" doc:"May be left out for somebody else's."`
	New *string `json:"new" required:"true"`
}

// password is POST /users/:name/password: one's own, with the old one, or that of somebody else, with the scope.
func (c *call) password() {
	var change passwordChange
	if !c.strict(&change) {
		return
	}
	name := c.params.ByName("name")
	own := name == c.who.Sub
	switch {
	case change.New == nil, own && change.Old == nil:
		c.badQuery(`write {"old": "...", "new": "..."}; old may be left out for somebody else's`)
		return
	case !own && !c.who.May(auth.UsersWrite):
		c.refuse(&problem{status: http.StatusForbidden, code: codeForbidden, message: "changing the password of others needs the scope " + auth.UsersWrite})
		return
	}
	if err := auth.Check(*change.New); err != nil {
		c.refuse(&problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: err.Error()})
		return
	}
	ctx, cancel := c.bounded()
	defer cancel()
	if own {
		if _, ok := c.logIn(name, *change.Old, askPassword); !ok {
			return
		}
	} else if !c.mayChange(ctx, name) {
		return
	}
	hash, ok := c.hash(ctx, *change.New)
	if !ok {
		return
	}
	if err := c.api.Users.UserPut(c.acting(ctx), &fsm.UserPut{Name: name, PasswordHash: hash, KeepRights: true}); err != nil {
		c.failUser(err)
		return
	}
	c.sendView(doneView{name, "changed"})
}

// mayChange says whether there is a user whom a caller who may write users may change. When it returns false the request has been
// answered.
func (c *call) mayChange(ctx context.Context, name string) bool {
	u, ok := c.findUser(ctx, name)
	switch {
	case !ok:
	case u == nil:
		c.noSuchUser()
	default:
		p := c.mayPut(u, &fsm.UserPut{})
		if p != nil {
			c.refuse(p)
		}
		return p == nil
	}
	return false
}
