package mem

import (
	"errors"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
)

func TestInform(t *testing.T) {
	w := Demo()
	b := w.Backend("alice")
	defer b.Close()
	req := backend.OpenRequest{Target: "cache-1", Kind: backend.KindExec, Argv: []string{"echo"}}
	for range backend.MaxVisits + 2 {
		term, err := b.Open(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		term.Close()
	}
	info, err := b.Inform(t.Context(), req)
	if err != nil || len(info.Visits) != backend.MaxVisits || info.Visits[0].By != "alice" || len(info.Ways) != 0 || info.Posture["os"] == "" {
		t.Errorf("%+v %v", info, err)
	}
	if info, err = b.Inform(t.Context(), backend.OpenRequest{Target: "vault", Kind: backend.KindShell}); err != nil || len(info.Ways) == 0 {
		t.Errorf("%+v %v", info, err)
	}
	if _, err = b.Inform(t.Context(), backend.OpenRequest{Target: "nowhere", Kind: backend.KindShell}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
}
