package approvals

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

// decider is a backend that notes what is decided.
type decider struct {
	backend.Backend
	ids []backend.ApprovalID
	d   backend.Decision
	err error
}

func (b *decider) DecideTogether(_ context.Context, ids []backend.ApprovalID, d backend.Decision) (int, error) {
	b.ids, b.d = ids, d
	if b.err != nil {
		return 1, b.err
	}
	return len(ids), nil
}

// planned are requests of a plan of three, and one that stands alone.
func planned(now time.Time, n int) (list []backend.Approval) {
	for i, target := range []string{"web-1", "web-2", "db-1"}[:n] {
		list = append(list, backend.Approval{
			ID: backend.ApprovalID(rune('1' + i)), Target: target, Operator: "alice@example.com", Kind: "exec", Argv: []string{"systemctl", "reload", "nginx"},
			Tier: "high", State: backend.ApprovalWaiting, AskUntil: now.Add(time.Minute), CanDecide: true, Plan: "p", PlanSize: 3,
		})
	}
	return append(list, backend.Approval{
		ID: "9", Target: "web-1", Operator: "dora@example.com", Kind: "shell", State: backend.ApprovalWaiting, AskUntil: now.Add(time.Minute), CanDecide: true,
	})
}

// What was asked for together is one row, one thing to read that names each machine, and
// one decision.
func TestPlanIsOneDecision(t *testing.T) {
	now := time.Now()
	keys, err := keymap.New("ctrl+]", nil)
	if err != nil {
		t.Fatal(err)
	}
	press := func(r *Request, k rune) dialog.Outcome { return r.Key(tea.KeyPressMsg{Code: k, Text: string(k)}, now) }
	draw := func(d interface {
		Draw(*canvas.Canvas, uv.Rectangle, time.Time) *tea.Cursor
	}) string {
		screen := uv.NewScreenBuffer(80, 60)
		c := canvas.New(screen, canvas.NewStyles(true))
		d.Draw(c, c.Bounds(), now)
		return screen.String()
	}
	q := View{Able: true, Keys: keys}
	q.Set(planned(now, 2), now)
	if len(q.List) != 2 || q.Pending(now) != 2 {
		t.Fatalf("%d rows, %d to decide", len(q.List), q.Pending(now))
	}
	current, _ := q.Current()
	r := q.Open(current)
	if text := draw(r); !strings.Contains(text, "only 2 of its requests are here (yet)") || !strings.Contains(text, "not all of it is here") {
		t.Errorf("not whole:\n%s", text)
	}
	if o := press(r, 'a'); o.Do != nil {
		t.Error("what is not whole could be approved")
	}
	if o := press(r, 'd'); o.Do == nil {
		t.Error("what is not whole could not be denied")
	}

	q.Set(planned(now, 3), now)
	q.Update(r)
	if !r.changed {
		t.Error("a machine more is no change")
	}
	text := draw(r)
	for _, want := range []string{"3 machines; it is decided as a whole", "web-1, web-2, db-1", "systemctl reload nginx"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, text)
		}
	}
	if a, ok := q.Find("3"); !ok || a.Target != "db-1" {
		t.Errorf("one of the plan: %+v", a)
	}
	o := press(r, 'a')
	do, ok := o.Do.(dialog.DoDialog)
	if !ok {
		t.Fatalf("%+v", o)
	}
	prompt := do.Next.(*dialog.Prompt)
	if _, err := prompt.Submit("web-1"); err == nil {
		t.Error("approved by the name of one machine")
	}
	got, err := prompt.Submit("3")
	if err != nil {
		t.Fatal(err)
	}
	d := got.(dialog.DoDecide)
	b := &decider{}
	if err := Decide(t.Context(), b, d); err != nil || !slices.Equal(b.ids, []backend.ApprovalID{"1", "2", "3"}) || !b.d.Approve {
		t.Errorf("%q %+v %v", b.ids, b.d, err)
	}
	b.err = backend.ErrDecided
	if err := Decide(t.Context(), b, d); !errors.Is(err, backend.ErrDecided) || !strings.Contains(err.Error(), "1 of 3") {
		t.Errorf("%v", err)
	}

	// What has changed since it was read is not what was decided.
	if !q.Unchanged(d.Seen) {
		t.Error("it has not changed")
	}
	other := planned(now, 3)
	other[2].Argv = []string{"rm", "-rf", "/"}
	q.Set(other, now)
	if q.Unchanged(d.Seen) {
		t.Error("one machine's command is another one")
	}
	q.Update(r)
	if text := draw(r); !strings.Contains(text, "1 of 2") || !strings.Contains(text, "rm -rf /") {
		t.Errorf("two commands:\n%s", text)
	}
	other[1].CanDecide = false
	q.Set(other, now)
	q.Update(r)
	if o := press(r, 'a'); o.Do != nil {
		t.Error("approved in part")
	}
	q.Set(planned(now, 3)[3:], now)
	q.Update(r)
	if o := press(r, 'd'); o.Do != nil || q.Unchanged(d.Seen) {
		t.Error("what is gone was decided")
	}
}
