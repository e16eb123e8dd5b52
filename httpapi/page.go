package httpapi

import (
	_ "embed"
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

// start is GET /.
func (c *call) start() {
	h := c.w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	c.send(http.StatusOK, typeHTML, c.api.page)
}
