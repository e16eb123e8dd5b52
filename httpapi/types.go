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

// pingView is the answer to GET /ping.
type pingView struct {
	Status string `json:"status"`
}

// ping is GET /ping. It says nothing about the cluster: see readyz.
func (c *call) ping() {
	c.sendView(pingView{"online"})
}
