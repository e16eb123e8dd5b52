package cli

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseManager(t *testing.T) {
	for _, tt := range []struct {
		line string
		want *managerOptions
		err  string
	}{
		{"-i a b -pl https://h/i.json", &managerOptions{packs: []string{"a", "b"}, list: "https://h/i.json"}, ""},
		{"--install a --packagelist file:///i.json", &managerOptions{packs: []string{"a"}, list: "/i.json"}, ""},
		{"-i a -handler /h --api /a", &managerOptions{packs: []string{"a"}, ignored: []string{"-handler", "--api"}}, ""},
		{"", &managerOptions{}, ""},
		{"-i", nil, "needs the names"},
		{"-pl", nil, "needs the URL"},
		{"-pl a b", nil, "needs the URL"},
		{"--api", nil, "needs a folder"},
		{"a", nil, "is not known"},
		{"-x a", nil, "is not known"},
	} {
		got, err := parseManager(strings.Fields(tt.line))
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %+v, %v; want %+v, %q", tt.line, got, err, tt.want, tt.err)
		}
	}
}

func TestReferencePacks(t *testing.T) {
	for _, tt := range []struct {
		packs []string
		env   string
		want  string
	}{
		{nil, "", ""},
		{[]string{"a"}, "", "a"},
		{[]string{"a"}, "b, c,a", "a,b,c"},
		{[]string{"a"}, "*,edge", "edge"},
		{[]string{"a"}, "*edge", "edge"},
		{[]string{"a"}, "*", ""},
	} {
		if got := strings.Join(referencePacks(tt.packs, tt.env), ","); got != tt.want {
			t.Errorf("--packs %v with %q: %s, want %s", tt.packs, tt.env, got, tt.want)
		}
	}
}
