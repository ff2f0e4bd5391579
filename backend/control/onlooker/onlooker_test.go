package onlooker

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/internal/watching"
)

// feed is the terminal of a channel.
type feed struct {
	backend.Terminal
	io.Reader
	typed bytes.Buffer
}

func (f *feed) Read(p []byte) (int, error)  { return f.Reader.Read(p) }
func (f *feed) Write(p []byte) (int, error) { return f.typed.Write(p) }
func (f *feed) Close() error                { return nil }
func (f *feed) Wait() (backend.Exit, error) { return backend.Exit{Reason: "policy has changed"}, nil }

func messages(all ...watching.Message) (b []byte) {
	for _, m := range all {
		b = m.Append(b)
	}
	return b
}

// Whose shell it is says the machine. Where apid has said that it is another's, nobody is
// led to it.
func TestWhose(t *testing.T) {
	const alice, mallory = "alice@example.com", "mallory@example.com"
	for _, tt := range []struct {
		kind       backend.Kind
		told, said string
		ok         bool
	}{
		{backend.KindJoin, alice, alice, true},
		{backend.KindJoin, alice, mallory, false},
		{backend.KindObserve, alice, mallory, false},
		{backend.KindJoin, alice, "", false}, // a machine that does not say
		{backend.KindJoin, "", mallory, true},
		{backend.KindShell, alice, "", true}, // one's own
	} {
		if err := Whose(backend.OpenRequest{Kind: tt.kind, Owner: tt.told}, tt.said); (err == nil) != tt.ok || !tt.ok && !errors.Is(err, backend.ErrDenied) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// What is drawn is what the shell shows, at its own size, in the part with the cursor; and
// nothing that it asks of a terminal, or sets.
func TestDrawn(t *testing.T) {
	f := &feed{Reader: bytes.NewReader(messages(
		watching.Message{Type: watching.Screen, Cols: 20, Rows: 4, Bytes: []byte("one\r\ntwo\r\n")},
		watching.Message{Type: watching.Output, Bytes: []byte("\x1b]52;c;c2VjcmV0\x07\x1b]0;title\x07\x1b[6n\x1b[1mthree\x1b[0m at-its-end")},
		watching.Message{Type: watching.End, Reason: "over"},
	))}
	w := New(f, backend.OpenRequest{Kind: backend.KindObserve, TTY: true, Cols: 10, Rows: 2})
	b, err := io.ReadAll(w)
	if err != nil {
		t.Fatal(err)
	}
	e := vt.New(10, 2, vt.Options{})
	e.Write(b)
	first, _ := e.Text(nil, 0)
	last, _ := e.Text(nil, 1)
	if got := strings.TrimSpace(string(last)); got != "t-its-end" || strings.TrimSpace(string(first)) != "" {
		t.Errorf("drawn %q and %q", first, last)
	}
	if bytes.Contains(b, []byte("\x1b]")) || len(e.Replies()) > 0 {
		t.Errorf("it asks or sets something: %q", b)
	}
	if n, err := w.Write([]byte("keys")); n != 4 || err != nil || f.typed.Len() > 0 {
		t.Errorf("an observer has typed %q (%v)", f.typed.String(), err)
	}
	if exit, err := w.Wait(); exit.Reason != "over" || err != nil {
		t.Errorf("%+v %v", exit, err)
	}
}

// In a pipe the output comes once, also where the machine begins again, and what is left
// out is said.
func TestPlain(t *testing.T) {
	f := &feed{Reader: bytes.NewReader(messages(
		watching.Message{Type: watching.Screen, Cols: 20, Rows: 4, Bytes: []byte("ab")},
		watching.Message{Type: watching.Output, Bytes: []byte("cd")},
		watching.Message{Type: watching.Screen, Cols: 20, Rows: 4, Lost: 1, Bytes: []byte("bcdef")},
		watching.Message{Type: watching.Screen, Cols: 20, Rows: 4, Lost: 9, Bytes: []byte("jk")},
		watching.Message{Type: watching.End},
	))}
	b, err := io.ReadAll(New(f, backend.OpenRequest{Kind: backend.KindObserve}))
	if err != nil || !strings.HasPrefix(string(b), "abcdef\r\n") || !strings.Contains(string(b), "3 bytes of output are left out") || !strings.HasSuffix(string(b), "\r\njk") {
		t.Errorf("%q %v", b, err)
	}
	// Where the shell's side says nothing, the session's exit does.
	w := New(&feed{Reader: bytes.NewReader(messages(watching.Message{Type: watching.Output, Bytes: []byte("cut")}))}, backend.OpenRequest{Kind: backend.KindObserve})
	if b, err := io.ReadAll(w); string(b) != "cut" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if exit, err := w.Wait(); exit.Reason != "policy has changed" || err != nil {
		t.Errorf("%+v %v", exit, err)
	}
	cut := &feed{Reader: strings.NewReader("\x09\x00\x00\x00\x00")}
	if _, err := io.ReadAll(New(cut, backend.OpenRequest{Kind: backend.KindObserve})); err == nil {
		t.Error("what is no message was taken")
	}
}
