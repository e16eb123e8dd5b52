package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"net/http"
	"strings"
)

//go:embed page.html
var pageHTML string

// startPage returns the page at /. It needs nothing from elsewhere.
func startPage(version string) []byte {
	return []byte(strings.ReplaceAll(pageHTML, "{{version}}", html.EscapeString(version)))
}

// styleHash returns what a Content-Security-Policy calls the style of the page by.
func styleHash(page []byte) string {
	_, rest, _ := bytes.Cut(page, []byte("<style>"))
	style, _, _ := bytes.Cut(rest, []byte("</style>"))
	sum := sha256.Sum256(style)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// start is GET /.
func (c *call) start() {
	h := c.w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src "+c.api.pageStyle)
	h.Set("Referrer-Policy", "no-referrer")
	c.send(http.StatusOK, typeHTML, c.api.page)
}
