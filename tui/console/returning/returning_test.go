package returning

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
)

type fake struct {
	backend.Backend
	all []backend.Session
	err error
}

func (f *fake) Sessions(context.Context) ([]backend.Session, error) { return f.all, f.err }

func TestEntries(t *testing.T) {
	now := time.Unix(1000, 0)
	soon, past := now.Add(90*time.Second), now.Add(-time.Second)
	f := &fake{all: []backend.Session{
		{ID: "a", Target: "web-1", Kind: backend.KindShell, As: "deploy", Returns: true, Away: past, Until: soon},
		{ID: "b", Target: "web-2", Kind: backend.KindShell, Returns: true},                          // somebody is at it
		{ID: "c", Target: "web-3", Kind: backend.KindExec, Away: past, Until: soon},                 // no shell
		{ID: "d", Target: "web-4", Kind: backend.KindShell, Returns: true, Away: past, Until: past}, // over
	}}
	var s Shells
	name := func(id backend.TargetID) sanitize.Text { return sanitize.Clean(string(id)) }
	s.Ask(t.Context(), f)
	f.err = errors.New("away")
	s.Ask(t.Context(), f) // what was known stands
	got := s.Entries(now, name)
	if len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
	text := ""
	for _, part := range got[0].Name {
		text += part.String()
	}
	req := got[0].Do.(dialog.DoOpen).Req
	if text != "come back to web-1, 1m30s left" || req.Session != "a" || req.Target != "web-1" || req.As != "deploy" || req.Kind != backend.KindShell {
		t.Errorf("%q opens %+v", text, req)
	}
	var none Shells
	none.Ask(t.Context(), struct{ backend.Backend }{})
	if len(none.Entries(now, name)) != 0 {
		t.Error("a backend that knows of none has some")
	}
}
