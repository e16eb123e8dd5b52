package fsm

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenCommands has each command once, with every field set.
func goldenCommands() []*Command {
	key := Key{0x01, 0x92, 0x3b, 15: 0xff}
	at := &Place{Node: 3, Boot: 1700000000001}
	root := &Actor{Sub: "root", Addr: "192.0.2.7"}
	return []*Command{
		{Kind: &Command_Submit{&Submit{
			Tasks: []*New{{
				Key: key[:], Name: "nightly", Type: "test.add", Args: []byte(`{"a":1,"b":2}`), Priority: 7,
				DelayMs: 1500, EtaMs: 1700000005000, TimeoutMs: 60000,
				Retry: &Retry{MaxAttempts: 5, InitialMs: 100, Factor: 2.5, MaxMs: 10000, Jitter: 0.25},
				Tags:  []string{"a", "b"}, Place: at, Release: "1.0+3fa9c1e2b4d5",
				ArgsBlob: &Blob{Digest: bytes.Repeat([]byte{0xa7}, 32), Size: 70000}, Where: "gpu=yes,zone=eu",
			}},
			IdempotencyKey: "once", BodyHash: []byte{0xde, 0xad}, KeepKeyMs: 86400000,
		}}},
		{Kind: &Command_Assign{&Assign{Key: key[:], Attempt: 2, Place: at}}},
		{Kind: &Command_Finish{&Finish{
			Key: key[:], Attempt: 2, Result: []byte(`3`), Error: &Failure{Type: "ValueError", Message: "no", Traceback: "line 1"},
			Reason: ReasonError, RunUs: 1234, Permanent: true, RetryInMs: 250, Log: []byte("step 1\n"),
			ResultBlob: &Blob{Digest: bytes.Repeat([]byte{0x7a}, 32), Size: 80000},
		}}},
		{Kind: &Command_Release{&Release{Key: key[:], Attempt: 2, Reason: ReasonDrain}}},
		{Kind: &Command_Cancel{&Cancel{Id: "nightly"}}},
		{Kind: &Command_Tick{&Tick{Limit: 100}}},
		{Kind: &Command_Purge{&Purge{
			FinishedBeforeMs: 1700000000000, MaxCount: 1000, MaxBytes: 1 << 30, Limit: 50,
			AuditBeforeMs: 1690000000000, MaxAuditBytes: 1 << 26,
		}}},
		{Kind: &Command_NodeUp{&NodeUp{
			Id: "6f1e", Name: "alpha", Boot: 1700000000001, Slots: 8, Packs: []byte(`[]`), Http: "http://alpha:8080", Version: "1.2.3",
			Labels: []*Label{{Key: "zone", Value: "eu", Removed: true}},
		}}},
		{Kind: &Command_NodeDown{&NodeDown{Place: at, Reason: ReasonWorkerLost, Forget: true}}},
		{Kind: &Command_NodeDrain{&NodeDrain{Place: at, Draining: true, UntilResumed: true, TimeoutMs: 30000, Force: true}}},
		{Kind: &Command_PackPut{&PackPut{
			Name: "test", Release: "1.0+3fa9c1e2b4d5", Version: "1.0", Digest: bytes.Repeat([]byte{0x3f}, 32), Size: 4096,
			Kind: "python", Info: []byte(`{}`),
		}}},
		{Kind: &Command_PackUse{&PackUse{Name: "test", Release: "1.0+3fa9c1e2b4d5"}}},
		{Kind: &Command_PackRemove{&PackRemove{Name: "test", Release: "1.0+3fa9c1e2b4d5", Force: true, Limit: 1000, Resume: true}}},
		{Kind: &Command_NodePacks{&NodePacks{Place: at, Packs: []byte(`[]`)}}},
		{Actor: root, Kind: &Command_UserPut{&UserPut{
			Name: "ann", PasswordHash: "$argon2id$v=19$m=65536,t=1,p=4$c2FsdA$aGFzaA", AllowedTasks: []string{"p.main.f", "q.*"},
			Scopes: []string{"tasks:write", "admin"}, Create: true, KeepRights: true,
		}}},
		{Actor: root, Kind: &Command_UserRemove{&UserRemove{Name: "ann"}}},
		{Actor: root, Kind: &Command_KeysPut{&KeysPut{Version: 41, Keys: []*SigningKey{{
			Id: "k1", Algorithm: "EdDSA", PublicDer: []byte{0x30, 0x2a}, Sealed: []byte{0x5e, 0xa1}, SealedBy: "s1",
			CreatedMs: 1700000000000, VerifyUntilMs: 1700000900000,
		}}}}},
		{Actor: root, Kind: &Command_NodeLabel{&NodeLabel{Place: at, Labels: []*Label{{Key: "zone", Value: "eu", Removed: true}}, Forget: true}}},
		{Actor: root, Kind: &Command_SecretPut{&SecretPut{Version: 42, Rotation: &Rotation{
			From: "s1", To: "s2", Sealed: []byte{0x5e, 0xa2}, Phase: 2, Version: 42, StartedMs: 1700000000000,
		}}}},
	}
}

// TestGoldenCommands holds the bytes of every command: entries that are on disk
// somewhere must read the same for ever.
func TestGoldenCommands(t *testing.T) {
	covered := map[protoreflect.Name]bool{}
	for _, c := range goldenCommands() {
		kind := c.ProtoReflect().WhichOneof(c.ProtoReflect().Descriptor().Oneofs().ByName("kind"))
		covered[kind.Name()] = true
		t.Run(string(kind.Name()), func(t *testing.T) {
			wantAllSet(t, c.ProtoReflect().Get(kind).Message())
			if c.Actor != nil {
				wantAllSet(t, c.Actor.ProtoReflect())
			}
			e := &Entry{NowMs: 1700000000123, Commands: []*Command{c}}
			got, err := EncodeEntry(e)
			if err != nil {
				t.Fatal(err)
			}
			want := golden(t, string(kind.Name()), got)
			if !bytes.Equal(got, want) {
				t.Errorf("encoded:\n%x\nwant:\n%x", got, want)
			}
			back, err := DecodeEntry(want)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(back, e) {
				t.Errorf("decoded %v, want %v", back, e)
			}
		})
	}
	fields := (&Command{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !covered[f.Name()] {
			t.Errorf("command %d, %s, has no golden bytes: add it to goldenCommands and run the test with -update", f.Number(), f.Name())
		}
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) != fields.Len() {
		t.Errorf("%d golden files for %d commands, %v", len(files), fields.Len(), err)
	}
}

// TestGoldenBefore holds the bytes of commands as they were before they had all the fields
// of today: they read as commands without these, and are written the same.
func TestGoldenBefore(t *testing.T) {
	fields := map[string]func(*Command){
		"submit":     func(c *Command) { n := c.GetSubmit().Tasks[0]; n.Release, n.ArgsBlob, n.Where = "", nil, "" },
		"finish":     func(c *Command) { f := c.GetFinish(); f.Log, f.ResultBlob = nil, nil },
		"node_up":    func(c *Command) { c.GetNodeUp().Labels = nil },
		"node_drain": func(c *Command) { d := c.GetNodeDrain(); d.UntilResumed, d.TimeoutMs, d.Force = false, 0, false },
		"purge":      func(c *Command) { p := c.GetPurge(); p.AuditBeforeMs, p.MaxAuditBytes = 0, 0 },
	}
	for _, c := range goldenCommands() {
		name := string(c.ProtoReflect().WhichOneof(c.ProtoReflect().Descriptor().Oneofs().ByName("kind")).Name())
		unset := fields[name]
		if unset == nil {
			continue
		}
		unset(c)
		got, err := EncodeEntry(&Entry{NowMs: 1700000000123, Commands: []*Command{c}})
		if err != nil {
			t.Fatal(err)
		}
		want := readGolden(t, "testdata/before/"+name+".golden")
		if !bytes.Equal(got, want) {
			t.Errorf("%s is encoded:\n%x\nwant:\n%x", name, got, want)
		}
		back, err := DecodeEntry(want)
		if err != nil || !proto.Equal(back.Commands[0], c) {
			t.Errorf("%s is decoded as %v, %v; want %v", name, back, err, c)
		}
	}
}

// wantAllSet checks that a message has a value in every field, so that each
// field's number and type show in the golden bytes.
func wantAllSet(t *testing.T, m protoreflect.Message) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch v := m.Get(f); {
		case !m.Has(f):
			t.Errorf("the golden command sets no %s", f.FullName())
		case f.IsList() && f.Message() != nil:
			wantAllSet(t, v.List().Get(0).Message())
		case f.Message() != nil:
			wantAllSet(t, v.Message())
		}
	}
}

// golden returns the bytes of a golden file, after writing got to it if asked.
func golden(t testing.TB, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return readGolden(t, path)
}

func readGolden(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// TestEntryPacked checks that large entries are packed, read back the same, and
// that what does not shrink is left as it is.
func TestEntryPacked(t *testing.T) {
	noise := make([]byte, 2*packAbove)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	tests := []struct {
		name    string
		args    []byte
		packing byte
	}{
		{"small", []byte(`{}`), packedPlain},
		{"large", bytes.Repeat([]byte("abc"), packAbove), packedS2},
		{"noise", noise, packedPlain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &Entry{NowMs: 5, Commands: []*Command{submit(task(1, args(string(tt.args)))), tick(1)}}
			data, err := EncodeEntry(e)
			if err != nil {
				t.Fatal(err)
			}
			if data[0] != entryVersion || data[1] != tt.packing {
				t.Errorf("envelope %x, want version %d, packing %d", data[:2], entryVersion, tt.packing)
			}
			back, err := DecodeEntry(data)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(back, e) {
				t.Error("the decoded entry is another one")
			}
		})
	}
}

// TestDecodeEntryRefuses checks that what cannot be understood is named.
func TestDecodeEntryRefuses(t *testing.T) {
	good, err := EncodeEntry(&Entry{Commands: []*Command{tick(1)}})
	if err != nil {
		t.Fatal(err)
	}
	unknown := protowire.AppendTag(nil, 77, protowire.BytesType) // command 77
	unknown = protowire.AppendBytes(unknown, []byte("x"))
	body := protowire.AppendTag(nil, 2, protowire.BytesType)
	body = protowire.AppendBytes(body, unknown)
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "too short"},
		{"version", append([]byte{9}, good[1:]...), "version 9"},
		{"packing", append([]byte{entryVersion, 7}, good[2:]...), "packing 7"},
		{"command", append([]byte{entryVersion, packedPlain}, body...), "command 0 of 1"},
		{"command's number", append([]byte{entryVersion, packedPlain}, body...), "number 77"},
		{"cut", good[:len(good)-1], "decode log entry"},
		{"length", []byte{entryVersion, packedS2, 0xff, 0xff, 0xff, 0xff, 0x0f}, "not a sane length"},
		{"s2", []byte{entryVersion, packedS2, 4, 0xff}, "decode log entry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := DecodeEntry(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("DecodeEntry = %v, %v; want an error with %q", e, err, tt.want)
			}
		})
	}
}

// TestApplyStopsAtTheUnknown checks that a node does not go on past an entry that
// it does not understand.
func TestApplyStopsAtTheUnknown(t *testing.T) {
	m := newMachine(t)
	m.ok(submit(task(1)))
	defer func() {
		if got := recover(); got == nil || !strings.Contains(got.(string), "log entry 2") {
			t.Errorf("panic %v, want one that names log entry 2", got)
		}
		m.is(Status_PENDING, 0, k(1))
	}()
	l := encoded(t, 2, startClock, tick(1))
	l.Data[0] = 99
	m.FSM().Apply(l)
}
