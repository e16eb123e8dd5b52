package config

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Write writes a configuration as the YAML file that gives it. Secrets are not in such files: of these it
// says only that they are there.
func Write(w io.Writer, cfg *Config) error {
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for _, o := range Options() {
		value := &yaml.Node{}
		field := o.Field(cfg)
		var plain any = (&setting{ptr: field}).String() // as it is written on a command line
		switch p := field.(type) {
		case *[]string:
			plain = append([]string{}, *p...)
		case *bool:
			plain = *p
		case *int:
			plain = *p
		}
		if err := value.Encode(plain); err != nil {
			return fmt.Errorf("write %s: %w", o.Name, err)
		}
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: o.Name}, value)
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if hidden := cfg.hidden(); hidden != "" {
		text = append(text, hidden...)
	}
	_, err = w.Write(text)
	return err
}

// hidden says which secrets the node was given, and nothing of what they are.
func (g *Given) hidden() string {
	var b strings.Builder
	for i, s := range g.Secrets {
		use := "used"
		if i > 0 {
			use = "honoured"
		}
		fmt.Fprintf(&b, "# secret %s: *** (%s)\n", s.ID(), use)
	}
	for _, key := range []struct {
		name string
		pem  []byte
	}{{"private", g.JWTPrivatePEM}, {"public", g.JWTPublicPEM}} {
		if len(key.pem) > 0 {
			fmt.Fprintf(&b, "# %s key of tokens: ***\n", key.name)
		}
	}
	return b.String()
}
