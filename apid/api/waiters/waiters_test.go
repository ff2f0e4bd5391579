package waiters

import (
	"errors"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func TestBounds(t *testing.T) {
	w, device, other := New(), key.Kid{1}, key.Kid{2}
	var leaves []func()
	for range maxWaitersDevice {
		_, leave, err := w.Join(token.NewID(), device)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if _, _, err := w.Join(token.NewID(), device); !errors.Is(err, wire.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	id := token.NewID()
	changed, leave, err := w.Join(id, other)
	if err != nil {
		t.Fatal(err)
	}
	w.Changed(id)
	<-changed
	for _, f := range append(leaves, leave) {
		f()
	}
	if w.n != 0 || len(w.on) != 0 || len(w.device) != 0 {
		t.Errorf("left behind: %+v", w)
	}
}
