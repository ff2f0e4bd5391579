package recorder

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/token"
)

// spool is a Store for any session.
type spool struct {
	*recording.Spool
	id token.ID
}

func (s spool) Create() (Sink, error) {
	k, err := s.Spool.Create(s.id)
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (s spool) tape(lost func(error)) *Tape {
	s.id = token.NewID()
	return NewTape(s.id, envelope.Sum([]byte("team")), s, slog.New(slog.DiscardHandler), lost)
}

func open(t *testing.T, max int64) (spool, key.Recipient) {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	r, err := recording.OpenSpool(t.TempDir(), max, envelope.Sum([]byte("team")), id)
	if err != nil {
		t.Fatal(err)
	}
	return spool{Spool: r}, u.Recipient()
}

func TestStart(t *testing.T) {
	roomy, auditor := open(t, 64<<20)
	full, _ := open(t, 1)
	for _, tt := range []struct {
		name  string
		r     spool
		want  string
		to    []key.Recipient
		state string
		fails bool
	}{
		{"off", roomy, Off, []key.Recipient{auditor}, Off, false},
		{"nothing said", roomy, "", []key.Recipient{auditor}, Off, false},
		{"on", roomy, On, []key.Recipient{auditor}, On, false},
		{"required", roomy, Required, []key.Recipient{auditor}, Required, false},
		{"on, no auditors", roomy, On, nil, Off, false},
		{"required, no auditors", roomy, Required, nil, Off, true},
		{"on, full", full, On, []key.Recipient{auditor}, Off, false},
		{"required, full", full, Required, []key.Recipient{auditor}, Off, true},
	} {
		tape := tt.r.tape(func(error) { t.Errorf("%s: lost", tt.name) })
		track, state, err := tape.Start(Request{Want: tt.want, Auditors: tt.to, Label: "allow"})
		if state != tt.state || (err != nil) != tt.fails || (track != nil) != (tt.state != Off) {
			t.Errorf("%s: state %q, track %v, %v", tt.name, state, track != nil, err)
		}
		// Whatever came of it, the channel goes on as if it were recorded.
		s := track.Stream(true)
		if _, err := io.WriteString(s, "x"); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		track.Resize(100, 30)
		track.Exit(0)
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if head, _ := tape.End(); head.IsZero() != (tt.state == Off) {
			t.Errorf("%s: head %v", tt.name, head)
		}
	}
}

// A disk that is full in the middle of a session ends one that must be recorded,
// and no other.
func TestFullInTheMiddle(t *testing.T) {
	noise := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	for _, want := range []string{On, Required} {
		r, auditor := open(t, recording.MaxSegment+64<<10)
		var lost error
		tape := r.tape(func(err error) { lost = err })
		track, _, err := tape.Start(Request{Want: want, Auditors: []key.Recipient{auditor}, Label: "allow"})
		if err != nil {
			t.Fatal(err)
		}
		s := track.Stream(true)
		for range 2 * recording.MaxSegment / len(noise) {
			if _, err = s.Write(noise); err != nil {
				break
			}
		}
		if required := want == Required; (err != nil) != required || (lost != nil) != required {
			t.Errorf("%s: Write = %v, lost = %v", want, err, lost)
		}
		if want == Required && (!errors.Is(lost, recording.ErrFull) || !strings.Contains(lost.Error(), "must be recorded")) {
			t.Errorf("lost = %v", lost)
		}
		if head, err := tape.End(); !errors.Is(err, recording.ErrFull) || head.IsZero() && want == "" {
			t.Errorf("%s: End = %v, %v", want, head, err)
		}
		// One more channel of the same session fares alike.
		if _, state, err := tape.Start(Request{Want: want, Auditors: []key.Recipient{auditor}}); (err != nil) != (want == Required) || state != Off {
			t.Errorf("%s: another channel: %s, %v", want, state, err)
		}
	}
}
