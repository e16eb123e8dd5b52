package fetch

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotFound is wrapped by Find's error when all indexes were read and none has the pack.
var ErrNotFound = errors.New("no index has it")

const (
	maxIndex = 8 << 20 // bytes of an index
	maxName  = 64      // bytes of a pack's name
	maxNear  = 5       // names that are proposed for one that is unknown
)

// Index is where packs can be had, by their names: what an index says of each, as it is written. One entry that is no good
// must not hide the others.
type Index map[string]json.RawMessage

// Entry is what an index says of a pack.
type Entry struct {
	Name    string `json:"name"` // the same as its key in the Index
	Author  string `json:"author,omitempty"`
	Version string `json:"version,omitempty"`
	Link    string `json:"link"`             // the URL of an archive
	SHA256  string `json:"sha256,omitempty"` // of the archive, in lower case hex; "" = not told
}

// ParseIndex reads an index: one JSON object, of names and entries, of 8 MiB at most. Entries are judged when they are asked
// for.
func ParseIndex(data []byte) (Index, error) {
	if len(data) > maxIndex {
		return nil, fmt.Errorf("the index has %d bytes, %d at most", len(data), maxIndex)
	}
	var index Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("the index is not an object of packs: %w", err)
	}
	if index == nil {
		return nil, errors.New("the index is not an object of packs: it is null")
	}
	return index, nil
}

// Entry returns what the index says of a pack, false if that is nothing. Members that are not known are passed over; an entry
// that is no good is an error which names it.
func (index Index) Entry(name string) (e Entry, ok bool, err error) {
	raw, ok := index[name]
	if !ok {
		return Entry{}, false, nil
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return Entry{}, true, fmt.Errorf("the index's entry %q: %w", name, err)
	}
	e.Name, e.SHA256 = name, strings.ToLower(e.SHA256)
	if err := e.validate(); err != nil {
		return Entry{}, true, fmt.Errorf("the index's entry %q: %w", name, err)
	}
	return e, true, nil
}

func (e *Entry) validate() error {
	if link, err := url.Parse(e.Link); err != nil || link.Scheme == "" {
		return fmt.Errorf("link %.200q: give the whole URL of an archive", e.Link)
	}
	if sum, err := hex.DecodeString(e.SHA256); err != nil || len(sum) != 0 && len(sum) != 32 {
		return fmt.Errorf("sha256 %.80q: give 64 hexadecimal digits, or leave it out", e.SHA256)
	}
	return nil
}

func checkName(name string) error {
	ok := name != "" && len(name) <= maxName
	for i := range len(name) {
		c := name[i]
		ok = ok && (c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' || i > 0 && '0' <= c && c <= '9')
	}
	if !ok {
		return fmt.Errorf("pack %.80q: use a name of at most %d letters, digits and underscores that does not begin with a digit", name, maxName)
	}
	return nil
}

// Find returns the entry of the pack name in the first of indexes that has one. An index is a URL as Get takes it, or else a
// file, which the operator names: the links in an index never do. One that cannot be read is passed over while another has the pack, and is told in the error otherwise.
func (c *Client) Find(ctx context.Context, indexes []string, name string) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	var failures []error
	var names []string
	for _, address := range indexes {
		index, err := c.readIndex(ctx, address)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if entry, ok, err := index.Entry(name); ok {
			return entry, err
		}
		names = slices.AppendSeq(names, maps.Keys(index))
	}
	hint := ""
	if near := nearest(name, names); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	switch {
	case failures != nil:
		return Entry{}, fmt.Errorf("pack %s: not every index could be read%s: %w", name, hint, errors.Join(failures...))
	case len(indexes) == 0:
		return Entry{}, fmt.Errorf("pack %s: %w: there are no indexes (--index of the node); give the pack's URL", name, ErrNotFound)
	}
	return Entry{}, fmt.Errorf("pack %s: %w%s", name, ErrNotFound, hint)
}

func (c *Client) readIndex(ctx context.Context, address string) (Index, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		u = &url.URL{Scheme: "file", Path: filepath.ToSlash(address)}
	}
	var data bytes.Buffer
	switch u.Scheme {
	case "http", "https":
		_, err = c.get(ctx, u, &data, maxIndex)
	case "file":
		err = readFile(u, &data, maxIndex)
	default:
		err = fmt.Errorf("fetch %s: the scheme %q is not known: use http or https, or a path", shown(u), u.Scheme)
	}
	if err != nil {
		return nil, err
	}
	index, err := ParseIndex(data.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(u), err)
	}
	return index, nil
}

// nearest returns those of names that somebody who wrote name may have meant, the nearest first.
func nearest(name string, names []string) []string {
	name = strings.ToLower(name)
	far := make(map[string]int)
	for _, other := range names {
		lower := strings.ToLower(other)
		d := distance(name, lower)
		part := min(len(name), len(lower)) > 3 && (strings.Contains(lower, name) || strings.Contains(name, lower))
		if part || d <= 1+len(name)/4 {
			far[other] = d
		}
	}
	near := slices.SortedFunc(maps.Keys(far), func(a, b string) int {
		if far[a] != far[b] {
			return far[a] - far[b]
		}
		return strings.Compare(a, b)
	})
	return near[:min(len(near), maxNear)]
}

// distance returns how many bytes are to be added, removed or replaced to make b of a (Levenshtein 1965).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the part of a so far, to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // diagonal
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
