package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/swaggest/swgui/v5/static"
)

// file is a body that is the same for many requests.
type file struct {
	contentType   []string
	plain, packed []byte   // packed is plain in gzip's form
	etag          []string // of both forms: a weak one
}

// newFile packs a body.
func newFile(plain []byte, contentType []string) *file {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(plain) // to memory: it does not fail
	w.Close()
	return &file{contentType: contentType, plain: plain, packed: b.Bytes(), etag: etagOf(plain)}
}

func etagOf(plain []byte) []string {
	sum := sha256.Sum256(plain)
	return []string{`W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

// is says whether an If-None-Match header names the file.
func (f *file) is(ifNoneMatch string) bool {
	for _, tag := range strings.Split(ifNoneMatch, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag != "" && strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(f.etag[0], "W/") {
			return true
		}
	}
	return false
}

// takesGzip reads an Accept-Encoding header.
func takesGzip(header string) bool {
	for _, part := range strings.Split(header, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == "gzip" {
			q := strings.TrimRight(strings.ReplaceAll(weight, " ", ""), "0")
			return q != "q=" && q != "q=0."
		}
	}
	return false
}

var (
	noCache  = []string{"no-cache"} // to be asked for again, with its ETag
	typeGzip = []string{"gzip"}
)

//go:embed docs
var docsOwn embed.FS

// docsFiles are the files of the page at / and /docs, by name: ours, and those of Swagger UI, which come with the program.
var docsFiles = sync.OnceValue(func() map[string]*file {
	files := map[string]*file{}
	for _, name := range []string{"index.html", "start.js", "start.css"} {
		plain, err := docsOwn.ReadFile("docs/" + name)
		if err != nil {
			panic(err) // it is in the program
		}
		files[name] = newFile(plain, typeByName(name))
	}
	for _, name := range []string{"swagger-ui.css", "swagger-ui-bundle.js"} {
		packed, err := static.FS.ReadFile(name + ".gz")
		if err != nil {
			panic(err)
		}
		plain := unpacked(packed)
		files[name] = &file{contentType: typeByName(name), plain: plain, packed: packed, etag: etagOf(plain)}
	}
	icon, err := static.FS.ReadFile("favicon-32x32.png")
	if err != nil {
		panic(err)
	}
	files["favicon.png"] = newFile(icon, typeByName("favicon.png"))
	return files
})

// unpacked returns what was packed into the program.
func unpacked(packed []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return plain
}

// typeByName returns the content type of a file. It does not ask the machine, whose tables differ.
func typeByName(name string) []string {
	switch path.Ext(name) {
	case ".html":
		return typeHTML
	case ".css":
		return []string{"text/css; charset=utf-8"}
	case ".js":
		return []string{"text/javascript; charset=utf-8"}
	}
	return []string{"image/png"}
}
