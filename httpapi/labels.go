package httpapi

import (
	"fmt"
	"net/http"
	"strconv"

	"pytasks/fsm"
)

// needLabels says what the body of POST /nodes/:name/labels is.
const needLabels = "Labels of the node, such as {\"zone\": \"eu\", \"gpu\": null}."

// labelNode is POST /nodes/:name/labels.
func (c *call) labelNode() {
	forget, err := strconv.ParseBool(first(c.query().Get("forget"), "false"))
	if err != nil {
		c.badQuery("forget must be true or false")
		return
	}
	labels, odd := map[string]*string{}, ""
	_, ok := c.object("labels", needLabels, func(s *scanner, key []byte) {
		name, raw := string(key), s.value()
		value, isText := textValue(raw)
		switch {
		case !fsm.ValidLabel(name) || given(raw) && (!isText || !fsm.ValidLabel(value)):
			odd = name
		case given(raw):
			labels[name] = &value
		default:
			labels[name] = nil
		}
	})
	if !ok {
		return
	}
	if odd != "" || len(labels) == 0 && !forget {
		c.refuse(&problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: fmt.Sprintf(
			"write labels as {\"zone\": \"eu\"}: key and value are 1 to 63 characters of A-Z a-z 0-9 . _ / -, null takes a label away; got %.100q", odd)})
		return
	}
	name := c.params.ByName("name")
	ctx, cancel := c.bounded()
	defer cancel()
	if err = c.api.Cluster.Label(c.acting(ctx), name, labels, forget); codeOf(err) == "misfit" {
		c.refuse(&problem{status: http.StatusUnprocessableEntity, code: codeArgs, message: fmt.Sprintf("a node has at most %d labels of its own", fsm.MaxLabels)})
		return
	}
	c.answerNode(err, name, "labelled")
}
