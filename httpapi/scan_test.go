package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pytasks/fsm"
)

// scanAll goes through an object as the handlers do and returns its members.
func scanAll(data []byte) (map[string]string, *scanError) {
	got := map[string]string{}
	s := scanner{data: data}
	s.open('{')
	for n := 0; s.more('}', n); n++ {
		key := string(s.key())
		got[key] = string(s.value())
	}
	s.end()
	return got, s.err
}

func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, ` { "a" : 1 , "b":[true,false,null] } `, `{"a":1,"a":2}`, `{"\u0061":"\ud83d\ude00","\n":-0.5e+10}`,
		`{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":-}`, `{"a":1e}`, `{"a":+1}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, "{\"a\":\"\n\"}",
		`{"a"}`, `{"a":}`, `{,}`, `{"a":1,}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":{}}x`, `{"a":tru}`, `{"a":nul`, `{"a":"`, `{"a":"\`,
		`{"a":NaN}`, "{\"a\":\x00}", "{\"a\":1\x00}", `[1]`, `"a"`, `{"a":{"b":{"c":[[{}]]}}}`, "{\"\xed\xa0\x80\":1}", `{"\ud800":1}`,
		`{"type":"test.main.add","args":{"x":1,"y":2},"tags":["a"],"retry":{"max_attempts":3},"tasks":[{"args":{}}]}`,
	} {
		f.Add([]byte(seed))
	}
	c := &call{api: &api{Options: Options{MaxArgs: 64 << 20, Catalog: newCatalog()}}, who: AnonymousRead.principal()}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Whatever it is, nothing panics and nothing loops.
		if text, err := decodeText(data); err == nil {
			s := scanner{data: text}
			batch, _ := scanBatch(&s, nil)
			for i := range batch {
				_ = c.check(&batch[i], new(fsm.New))
			}
		}
		got, err := scanAll(data)
		if err != nil && err.deep || !utf8.Valid(data) {
			return // stricter than encoding/json on purpose
		}
		var want map[string]json.RawMessage
		trimmed := bytes.TrimLeft(data, " \t\r\n")
		valid := len(trimmed) > 0 && trimmed[0] == '{' && json.Unmarshal(data, &want) == nil
		if valid != (err == nil) {
			t.Fatalf("%q: scan says %v, encoding/json says valid = %v", data, err, valid)
		}
		if !valid {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%q: got %q, want %q", data, got, want)
		}
		for key, value := range want {
			if got[key] != string(value) {
				t.Fatalf("%q: %q is %q, want %q", data, key, got[key], value)
			}
		}
		var args fields
		s := scanner{data: data}
		s.open('{')
		for n := 0; s.more('}', n); n++ {
			key := s.key()
			args.set(key, s.value())
		}
		_ = c.check(&args, new(fsm.New))
	})
}

func TestScanError(t *testing.T) {
	_, err := scanAll([]byte(`{"a": [1, 2,, 3]}`))
	if err == nil || err.Error() != "expected a JSON value at byte 12" {
		t.Errorf("got %v", err)
	}
}

func TestAppendString(t *testing.T) {
	for _, text := range []string{"", "plain", "<a&b>", "q\"b\\s\n\t\x00\x1f\x7f", "ü€😀", strings.Repeat("x\"", 50)} {
		var back string
		if err := json.Unmarshal(appendString(nil, text), &back); err != nil || back != text {
			t.Errorf("%q: back as %q, %v", text, back, err)
		}
	}
	if got := string(appendString([]byte("a:"), "x\xffy\xc3")); got != `a:"x\ufffdy\ufffd"` {
		t.Errorf("bad UTF-8: %s", got)
	}
}

func TestAppendSeconds(t *testing.T) {
	for ms, want := range map[int64]string{0: "0", 1: "0.001", 10: "0.01", 100: "0.1", 120: "0.12", 1500: "1.5", 60_000: "60", 1203: "1.203", 1005: "1.005"} {
		if got := string(appendSeconds(nil, ms)); got != want {
			t.Errorf("%d ms: got %s, want %s", ms, got, want)
		}
	}
}
