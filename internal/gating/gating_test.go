package gating

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
)

var event = Event{
	ID: 7, State: Hold, Argv: []string{"/bin/rm", "-rf", "/srv/\u202ex"}, Cwd: "/srv", Env: [][2]string{{"LD_PRELOAD", "x"}},
	Bound: []token.Bound{{Path: "/bin/rm", Hash: envelope.Sum([]byte("rm"))}},
	Tier:  "high", Rule: "commands.high", Line: 12, Reason: "held",
}

func TestThereAndBack(t *testing.T) {
	var b bytes.Buffer
	answer := Answer{ID: 7, Session: token.NewID(), Salt: token.NewID(), Bundle: []byte("sealed")}
	for _, m := range []any{event, answer} {
		if err := Write(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	e, err := ReadEvent(&b)
	if err != nil || !reflect.DeepEqual(e, event) {
		t.Errorf("%+v %v", e, err)
	}
	a, err := ReadAnswer(&b)
	if err != nil || !reflect.DeepEqual(a, answer) {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := ReadAnswer(&b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := Write(io.Discard, Answer{Bundle: make([]byte, MaxMessage)}); err == nil {
		t.Error("a message that is too long was sent")
	}
}

// No byte may change, and no length be other than it is.
func TestTampering(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, event); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	for i := range good {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			if e, err := ReadEvent(bytes.NewReader(bad)); err == nil && reflect.DeepEqual(e, event) {
				t.Fatalf("byte %d: not noticed", i)
			}
		}
		if _, err := ReadEvent(bytes.NewReader(good[:i])); err == nil || i >= 4 && !errors.Is(err, ErrProtocol) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, event); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{0, 0, 0, 1, 0xa0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := ReadEvent(bytes.NewReader(in))
		if err == nil {
			var again bytes.Buffer
			if err := Write(&again, e); err != nil || !bytes.HasPrefix(in, again.Bytes()) {
				t.Fatalf("%x becomes %x (%v)", in, again.Bytes(), err)
			}
		}
		_, _ = ReadAnswer(bytes.NewReader(in))
	})
}
