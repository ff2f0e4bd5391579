package sessions

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
)

func TestPick(t *testing.T) {
	all := []backend.Session{{ID: "aa11", Observe: true}, {ID: "aa22", Observe: true, Join: true}, {ID: "bb33", Join: true}}
	for _, c := range []struct {
		kind   backend.Kind
		prefix string
		want   backend.SessionID
		err    error
	}{
		{backend.KindObserve, "aa1", "aa11", nil},
		{backend.KindJoin, "aa", "aa22", nil},
		{backend.KindJoin, "aa1", "", backend.ErrDenied},
		{backend.KindObserve, "bb", "", backend.ErrDenied},
		{backend.KindObserve, "cc", "", backend.ErrNotFound},
	} {
		if s, err := pick(all, c.kind, c.prefix); s.ID != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s %s: %q %v", c.kind, c.prefix, s.ID, err)
		}
	}
	if _, err := pick(all, backend.KindObserve, "aa"); err == nil || !strings.Contains(err.Error(), "2 shells") {
		t.Errorf("two of them: %v", err)
	}
}

// ~ w at the beginning of a line ends who watches, and is not typed.
func TestDismiss(t *testing.T) {
	n := 0
	d := NewDoor(strings.NewReader("~wls\r~w~wa~w"), &leaver{})
	d.Dismiss = func() { n++ }
	if b, err := io.ReadAll(struct{ io.Reader }{d}); err != nil || string(b) != "ls\ra~w" || n != 3 {
		t.Errorf("%q, %d times, %v", b, n, err)
	}
}

// Who joins needs a keyboard; who observes without one gets it in a file or a pipe.
func TestFits(t *testing.T) {
	c := &CLI{Out: io.Discard, Person: func() bool { return false }}
	if err := c.fits(backend.KindJoin); err == nil || !strings.Contains(err.Error(), "tucdesk observe") {
		t.Errorf("join without a terminal: %v", err)
	}
	if err := c.fits(backend.KindObserve); err != nil {
		t.Errorf("observe in a pipe: %v", err)
	}
	c.Person = func() bool { return true }
	if err := c.fits(backend.KindJoin); err != nil {
		t.Errorf("join at a terminal: %v", err)
	}
}
