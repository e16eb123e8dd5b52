package archive

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// header is what an archive says of an entry.
type header struct {
	name    string
	dir     bool
	mode    fs.FileMode // permissions only
	size    int64
	problem string // why it is neither a file nor a folder, the rest of a sentence; "" if it is one
}

// entry is an entry that was found fit to be written.
type entry struct {
	header
	path string // where, with slashes, below the target; "" = nowhere
}

// plan is what an archive is to become. It judges entry by entry, all of them before the first is written.
type plan struct {
	limits  Limits
	bytes   int64 // that may still come
	entries []entry
	seen    map[string]place // by folded path: files and folders, also those that only paths of others name
}

// place is a path that is taken.
type place struct {
	path string
	dir  bool
}

// newPlan returns a plan for files of that many bytes together.
func newPlan(l Limits, bytes int64) *plan {
	return &plan{limits: l, bytes: bytes, seen: make(map[string]place)}
}

// add judges the next entry.
func (p *plan) add(h header) error {
	refuse := func(reason string) error { return &Error{Entry: h.name, Reason: reason} }
	if len(p.entries) == p.limits.Files {
		return p.tooMany()
	}
	e := entry{header: h}
	name := strings.TrimPrefix(h.name, "./")
	if h.dir {
		name = strings.TrimSuffix(name, "/")
	}
	switch {
	case h.dir && (name == "" || name == "."): // "./", the folder itself
	case p.pathProblem(name) != "":
		return refuse(p.pathProblem(name))
	case name == macFolder || strings.HasPrefix(name, macFolder+"/"):
	case h.problem != "":
		return refuse(h.problem)
	case h.size < 0 || h.size > p.bytes:
		return refuse(fmt.Sprintf("makes it larger than it may be: %d bytes more, when %d are left", h.size, p.bytes))
	default:
		p.bytes -= h.size
		e.path = name
		if err := p.occupy(name, h.dir); err != nil {
			return err
		}
	}
	p.entries = append(p.entries, e)
	return nil
}

// macFolder is where macOS puts what only macOS reads.
const macFolder = "__MACOSX"

// occupy takes the place of a file or folder, and those of the folders above it.
func (p *plan) occupy(name string, dir bool) error {
	key := fold(name)
	there, taken := p.seen[key]
	switch {
	case !taken && len(p.seen) == p.limits.Files:
		return p.tooMany()
	case !taken:
		p.seen[key] = place{path: name, dir: dir}
		if above := path.Dir(name); above != "." {
			return p.occupy(above, true)
		}
		return nil
	case there.path != name:
		return &Error{Entry: name, Reason: fmt.Sprintf("differs from %q in upper and lower case only, which some disks cannot tell apart", there.path)}
	case there.dir != dir:
		return &Error{Entry: name, Reason: "is a file and a folder"}
	case !dir:
		return &Error{Entry: name, Reason: "is there twice"}
	}
	return nil
}

// fold returns the same text for all ways to write name in upper and lower case.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

func (p *plan) tooMany() error {
	return &Error{Reason: fmt.Sprintf("has more than %d files and folders", p.limits.Files)}
}

// finish ends the judgement, leaves the common folder out and returns its name.
func (p *plan) finish() (root string, err error) {
	if !p.hasFile() {
		return "", &Error{Reason: "holds no files"}
	}
	root = p.common()
	if root == "" {
		return "", nil
	}
	for i := range p.entries {
		e := &p.entries[i]
		e.path = strings.TrimPrefix(strings.TrimPrefix(e.path, root), "/")
	}
	return root, nil
}

func (p *plan) hasFile() bool {
	return slices.ContainsFunc(p.entries, func(e entry) bool { return e.path != "" && !e.dir })
}

// common returns the name of the folder that holds everything, "" if there is none.
func (p *plan) common() string {
	common := ""
	for _, at := range p.seen {
		first, _, below := strings.Cut(at.path, "/")
		switch {
		case !below && !at.dir:
			return ""
		case common != "" && common != first:
			return ""
		}
		common = first
	}
	return common
}

// pathProblem returns why a path is refused, the rest of a sentence; "" if it is fine. Only what means one and the same place
// on every system is fine.
func (p *plan) pathProblem(name string) string {
	const maxElement = 255 // of most file systems
	switch {
	case name == "":
		return "has no name"
	case len(name) > p.limits.Path:
		return fmt.Sprintf("has a path of %d bytes, %d at most", len(name), p.limits.Path)
	case !utf8.ValidString(name):
		return "has a path that is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has a control character in its path"
	case strings.Contains(name, `\`):
		return `has a \ in its path: use /`
	case name[0] == '/':
		return "has an absolute path"
	case len(name) > 1 && name[1] == ':':
		return "has a drive letter in its path"
	case strings.Count(name, "/") > p.limits.Depth:
		return fmt.Sprintf("lies more than %d folders deep", p.limits.Depth)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "..":
			return "leads out of the pack's folder"
		case element == "" || element == ".":
			return "has an empty folder name or a . in its path"
		case len(element) > maxElement:
			return fmt.Sprintf("has a name of %d bytes, %d at most", len(element), maxElement)
		}
	}
	return ""
}
