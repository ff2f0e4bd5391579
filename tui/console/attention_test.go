package console

import (
	"slices"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// Who has a request open to decide it is seen by the others, until the request is closed.
func TestSomebodyElseIsDeciding(t *testing.T) {
	w := mem.Demo()
	if err := carolAsks(w); err != nil {
		t.Fatal(err)
	}
	dave := w.Backend("dave")
	reading := func() (who []string) {
		for a := range dave.Pending(t.Context()) {
			for _, r := range a.Readers {
				who = append(who, r.Who+" "+a.Target)
			}
		}
		return who
	}
	inBubble(t, func() backend.Backend { return w.Backend("bob") }, 100, 24, func(h *harness) {
		h.keys("v", "enter")
		if got := reading(); !slices.Equal(got, []string{"bob db-1"}) {
			t.Errorf("dave sees %q", got)
		}
		h.keys("d") // a prompt over it is the same request
		if got := reading(); !slices.Equal(got, []string{"bob db-1"}) {
			t.Errorf("with a prompt dave sees %q", got)
		}
		h.keys("esc", "esc")
		if got := reading(); got != nil {
			t.Errorf("after it is closed dave sees %q", got)
		}
		var first backend.Approval
		for a := range dave.Pending(t.Context()) {
			if first.ID == "" {
				first = a
			}
		}
		go dave.Attend(h.m.ctx, first.ID)
		h.sleep(5 * time.Second)
		h.see("dave is deciding (")
		h.keys("enter", "end")
		h.see("Others", "dave is deciding (")
	})
}
