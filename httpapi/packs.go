package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// packBodyTime is how long the body of an archive may take to arrive.
const packBodyTime = 10 * time.Minute

// packWork is how long installing one may take altogether.
const packWork = time.Hour

// Packs are the task packs of the cluster: those that every node's program has compiled in,
// and those that were installed. Its errors carry codes, and come as a *PackError where the
// pack itself is at fault.
type Packs interface {
	// List returns all packs, by name.
	List() []PackView
	// Install makes a pack known to the whole cluster. It returns when this node can run it, its bytes are on the
	// disks of a majority and the log names it; the other nodes follow.
	Install(ctx context.Context, from PackSource) (PackView, error)
	// Use makes another release of a pack the one that new tasks run on: the one before
	// the current, if release is "".
	Use(ctx context.Context, name, release string) (PackView, error)
	// Remove takes out a release of a pack, or all of it if release is "". Without force, unfinished
	// tasks that need it are an error; with it they fail.
	Remove(ctx context.Context, name, release string, force bool) error
}

// PackSource says where a pack comes from: Archive, URL or Index, whichever is set.
type PackSource struct {
	Archive io.Reader // a zip or tar.gz, as it is sent
	URL     string    // of an archive
	Index   string    // the name of a pack in the indexes that the node knows

	Name   string // what to call the pack, whatever it calls itself; "" = what it says
	SHA256 string // what the archive must have, 64 hexadecimal digits; "" = anything
}

// PackError says what is wrong with a pack, for its author.
type PackError struct {
	Message   string
	Traceback string // of the pack's own code, where that failed
}

// Error returns the message.
func (e *PackError) Error() string { return e.Message }

// Code returns the code that answers carry.
func (e *PackError) Code() string { return codeBadPack }

// PackView is a pack as it is shown.
type PackView struct {
	Name        string        `json:"name"`
	Version     string        `json:"version"`
	Kind        string        `json:"kind" doc:"python, command, wasm, or go for one that is compiled in."`
	Release     string        `json:"release,omitempty" doc:"That new tasks run on: version and beginning of the archive's SHA-256."`
	Description string        `json:"description,omitempty"`
	Tasks       []PackTask    `json:"tasks"`
	Nodes       []PackNode    `json:"nodes" doc:"Where the current release stands."`
	Releases    []PackRelease `json:"releases,omitempty"`
}

// PackTask is one type of task of a pack.
type PackTask struct {
	Type        string          `json:"type"`
	Doc         string          `json:"doc,omitempty"`
	Protected   bool            `json:"require_authorization,omitempty"`
	Timeout     float64         `json:"timeout,omitempty" doc:"Of an attempt, in seconds."`
	MaxAttempts int             `json:"max_attempts,omitempty"`
	Schema      json.RawMessage `json:"schema" doc:"Of the args, JSON Schema 2020-12."`
}

// How far a node is with a release.
const (
	PackReady      = "ready"
	PackPreparing  = "preparing"
	PackFailed     = "failed"
	PackIneligible = "ineligible" // it can never run it
)

// PackNode is how far one node is with a release.
type PackNode struct {
	Name   string `json:"name"`
	Status string `json:"status" enum:"ready,preparing,failed,ineligible" doc:"Ineligible where it can never run it."`
	Error  string `json:"error,omitempty"`
}

// PackRelease is one release of an installed pack, oldest first.
type PackRelease struct {
	Release     string    `json:"release"`
	Version     string    `json:"version"`
	SHA256      string    `json:"sha256"`
	Size        int64     `json:"size" doc:"Of the archive, in bytes."`
	Current     bool      `json:"current"`
	InstalledAt time.Time `json:"installed_at"`
	Unfinished  int       `json:"unfinished" doc:"Tasks that need it."`
}

// shown returns a pack whose lists are none of null.
func (p PackView) shown() PackView {
	p.Tasks, p.Nodes = listed(p.Tasks), listed(p.Nodes)
	return p
}

// packListView is the answer to GET /packs.
type packListView struct {
	Packs []PackView `json:"packs"`
}

// packs is GET /packs.
func (c *call) packs() {
	list := []PackView{}
	for _, p := range c.api.Packs.List() {
		list = append(list, p.shown())
	}
	c.sendView(packListView{list})
}

// pack is GET /packs/:name.
func (c *call) pack() {
	name := c.params.ByName("name")
	for _, p := range c.api.Packs.List() {
		if p.Name == name {
			c.sendView(p.shown())
			return
		}
	}
	c.noSuchPack(name, "")
}

// noSuchPack answers a request about a pack, or a release of it, that is not there.
func (c *call) noSuchPack(name, release string) {
	message := "there is no pack " + name + ": GET /packs, or `pytasks pack ls`, lists what there is"
	for _, p := range c.api.Packs.List() {
		var names []string
		for _, r := range p.Releases {
			names = append(names, r.Release)
		}
		switch {
		case p.Name != name:
		case names == nil:
			message = "pack " + name + " is part of the nodes' program: it was not installed, and is neither removed nor rolled back"
		case release != "":
			message = "pack " + name + " has no release " + release + ": it has " + strings.Join(names, ", ")
		}
	}
	c.refuse(&problem{status: http.StatusNotFound, code: codeNotFound, message: message})
}

// installPack is POST /packs.
func (c *call) installPack() {
	q := c.query()
	from := PackSource{Name: q.Get("name"), SHA256: q.Get("sha256")}
	if isArchive(c.r.Header.Get("Content-Type")) {
		if err := http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(packBodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			c.fail("", err)
			return
		}
		from.Archive = http.MaxBytesReader(c.w, c.r.Body, c.api.MaxPack)
	} else if !c.namedPack(&from) {
		return
	}
	c.allow(packWork)
	p, err := c.api.Packs.Install(c.acting(c.r.Context()), from)
	if err != nil {
		c.failPack(err, from.Name, "")
		return
	}
	c.sendView(p.shown())
}

// namedPack reads a JSON body that says where the pack is. When it returns false the
// request has been answered.
func (c *call) namedPack(from *PackSource) bool {
	const need = `"url" or "name", or the archive as the body, as application/zip or application/gzip`
	fields := map[string]*string{"url": &from.URL, "name": &from.Index, "sha256": &from.SHA256}
	bad := ""
	c.most = maxStrict
	if _, ok := c.object("url", need, func(s *scanner, key []byte) {
		target, name := fields[string(key)], string(key)
		text, isText := textValue(s.value())
		switch {
		case target == nil:
			bad = name + " is not known here: write " + need
		case !isText:
			bad = name + " must be a text"
		default:
			*target = text
		}
	}); !ok {
		return false
	}
	if bad == "" && from.URL == "" && from.Index == "" {
		bad = "say which pack: " + need
	}
	if bad != "" {
		c.badQuery(bad)
		return false
	}
	if from.URL != "" && from.Index != "" { // the name is then what to call it
		from.Name, from.Index = from.Index, ""
	}
	return true
}

// archiveTypes are the content types of archives.
var archiveTypes = []string{"application/zip", "application/gzip", "application/x-gzip", "application/x-zip-compressed", "application/octet-stream"}

// isArchive says whether a content type is that of a pack's archive.
func isArchive(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return slices.Contains(archiveTypes, kind)
}

// usePack is POST /packs/:name/rollback.
func (c *call) usePack() {
	name, release := c.params.ByName("name"), c.query().Get("release")
	ctx, cancel := c.bounded()
	defer cancel()
	p, err := c.api.Packs.Use(c.acting(ctx), name, release)
	if err != nil {
		c.failPack(err, name, release)
		return
	}
	c.sendView(p.shown())
}

// removePack is DELETE /packs/:name.
func (c *call) removePack() {
	name, q := c.params.ByName("name"), c.query()
	force, err := strconv.ParseBool(first(q.Get("force"), "false"))
	if err != nil {
		c.badQuery("force must be true or false")
		return
	}
	c.allow(packBodyTime)
	if err := c.api.Packs.Remove(c.acting(c.r.Context()), name, q.Get("release"), force); err != nil {
		c.failPack(err, name, q.Get("release"))
		return
	}
	c.sendView(doneView{name, "removed"})
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// failPack answers a request about a pack that failed.
func (c *call) failPack(err error, name, release string) {
	var bad *PackError
	var large *http.MaxBytesError
	switch code := codeOf(err); {
	case errors.As(err, &large):
		c.refuse(&problem{
			status: http.StatusRequestEntityTooLarge, code: codeTooLarge,
			message: fmt.Sprintf("the archive is larger than %d bytes, the limit of this node (--max-pack)", large.Limit),
		})
	case errors.As(err, &bad):
		c.refuse(&problem{status: http.StatusUnprocessableEntity, code: codeBadPack, message: bad.Message, detail: bad.Traceback})
	case code == codeNotFound:
		c.noSuchPack(name, release)
	case code == codeUnknown || code == codeTimeout:
		c.w.Header()["Retry-After"] = []string{"1"}
		c.refuse(&problem{
			status: http.StatusServiceUnavailable, code: codeUnknown,
			message: "the outcome is unknown: ask GET /packs, or send it again, which does no harm",
		})
	default:
		c.failWrite(err)
	}
}
