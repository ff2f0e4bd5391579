package watching

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// samples are the messages of SPEC.md, with their bytes.
var samples = []struct {
	m     Message
	bytes string
}{
	{Message{Type: Screen, Lost: 3, Cols: 80, Rows: 24, Bytes: []byte("hi")}, "010000000e0000000000000003005000186869"},
	{Message{Type: Output, Bytes: []byte("x")}, "020000000178"},
	{Message{Type: Size, Cols: 100, Rows: 30}, "03000000040064001e"},
	{Message{Type: End, Reason: "over"}, "04000000046f766572"},
}

func TestFeed(t *testing.T) {
	var all []byte
	for _, s := range samples {
		if got := hex.EncodeToString(s.m.Append(nil)); got != s.bytes {
			t.Errorf("%+v is %s, want %s", s.m, got, s.bytes)
		}
		all = s.m.Append(all)
	}
	r := bytes.NewReader(all)
	for _, s := range samples {
		if m, err := Read(r); err != nil || !reflect.DeepEqual(m, s.m) {
			t.Errorf("%+v %v, want %+v", m, err, s.m)
		}
	}
	if _, err := Read(r); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestBadFeed(t *testing.T) {
	for what, in := range map[string]string{
		"type 0":           "0000000000",
		"type 5":           "050000000178",
		"no output":        "0200000000",
		"too much output":  "0200008001" + strings.Repeat("78", MaxOutput+1),
		"a long screen":    "010010000d",
		"half a screen":    "01000000040000000a",
		"a screen of 0":    "010000000c000000000000000000000018",
		"a size of 0":      "030000000400640000",
		"a short size":     "03000000020064",
		"an End of noise":  "0400000001ff",
		"a cut message":    "020000000278",
		"an End too long":  "0400000401" + strings.Repeat("78", MaxReason+1),
		"a cut screen":     "010000000e00000000",
		"more than 4 GiB":  "02ffffffff",
		"a size too large": "03000000050064001e00",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(bytes.NewReader(b)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRoll(t *testing.T) {
	var b bytes.Buffer
	roll := Roll{[]Watcher{{N: 1, Who: "bob@example.com", Since: 5}, {N: 7, Who: "carol@example.com", Types: true, Since: 6}}}
	for _, r := range []Roll{{}, roll} {
		if err := WriteRoll(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	good := bytes.Clone(b.Bytes()[5+len("\xa1hwatchers"):])
	if r, err := ReadRoll(&b); err != nil || len(r.Watchers) != 0 {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := ReadRoll(&b); err != nil || !reflect.DeepEqual(r, roll) {
		t.Errorf("%+v %v", r, err)
	}
	for i := range good { // no byte may change
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if r, err := ReadRoll(bytes.NewReader(bad)); err == nil && reflect.DeepEqual(r, roll) {
			t.Fatalf("byte %d: not noticed", i)
		}
	}
	if err := WriteDismissal(&b, Dismissal{7}); err != nil {
		t.Fatal(err)
	}
	if d, err := ReadDismissal(&b); err != nil || d.N != 7 {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := ReadDismissal(&b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	WriteRoll(&b, Roll{make([]Watcher, Most+1)})
	if _, err := ReadRoll(&b); !errors.Is(err, ErrProtocol) {
		t.Errorf("a crowd: %v", err)
	}
	if err := WriteRoll(io.Discard, Roll{[]Watcher{{Who: strings.Repeat("x", maxRoll)}}}); err == nil {
		t.Error("a message that is too long was sent")
	}
	if _, err := ReadRoll(strings.NewReader("\x00\x00\x20\x01")); !errors.Is(err, ErrProtocol) {
		t.Errorf("too long: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range samples {
		f.Add(s.m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Read(bytes.NewReader(in))
		if err == nil && !bytes.HasPrefix(in, m.Append(nil)) {
			t.Fatalf("%x becomes %x", in, m.Append(nil))
		}
		if r, err := ReadRoll(bytes.NewReader(in)); err == nil {
			var again bytes.Buffer
			if err := WriteRoll(&again, r); err != nil || !bytes.HasPrefix(in, again.Bytes()) {
				t.Fatalf("%x becomes %x (%v)", in, again.Bytes(), err)
			}
		}
		_, _ = ReadDismissal(bytes.NewReader(in))
	})
}
