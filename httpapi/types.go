package httpapi

import "net/http"

// types is GET /tasks.
func (c *call) types() {
	b := append(c.buf[:0], '{')
	for i, spec := range c.api.Catalog.Specs() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, spec.Name)
		b = append(b, `:{"require_authorization":`...)
		if spec.Protected {
			b = append(b, "true"...)
		} else {
			b = append(b, "false"...)
		}
		b = append(b, `,"args":{`...)
		for j := range spec.Params {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendString(b, spec.Params[j].Name)
			b = append(b, ':')
			b = appendString(b, spec.Params[j].Type.String())
		}
		b = append(b, '}', '}')
	}
	c.buf = append(b, '}')
	c.sendJSON(http.StatusOK)
}

// ping is GET /ping. It says nothing about the cluster: see readyz.
func (c *call) ping() {
	c.buf = append(c.buf[:0], `{"status":"online"}`...)
	c.sendJSON(http.StatusOK)
}
