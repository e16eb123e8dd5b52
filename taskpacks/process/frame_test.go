package process

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzReadAnswer: whatever a worker writes, the node gets a result that is JSON and not too large, or an error.
func FuzzReadAnswer(f *testing.F) {
	frame := func(text string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	}
	for _, seed := range []string{`{"result":1}`, `{"result": [1, 2] }`, `{"ready":true}`, `{"error":{"type":"E","message":"m","traceback":"t"}}`, `{"progress":[0.5,"x"]}`, `{"result":`, `{"result":}`, `null`, `[]`, ""} {
		f.Add(frame(seed))
	}
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, '{'})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		const most = 1 << 10
		a, err := readAnswer(bufio.NewReader(bytes.NewReader(sent)), most)
		if err == nil && a.Result != nil && (!json.Valid(a.Result) || !utf8.Valid(a.Result) || len(a.Result) > most) {
			t.Errorf("%q gave the result %q", sent, a.Result)
		}
	})
}
