package starts

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// gated is a terminal whose starts are judged.
type gated struct {
	starts    chan backend.Start
	confirmed map[uint64]bool
}

func (g *gated) Starts() <-chan backend.Start { return g.starts }
func (g *gated) Confirm(id uint64, yes bool)  { g.confirmed[id] = yes }

// typed types into a prompt, and gives what the program gets.
func typed(p *Prompt, text string) string {
	p.In = strings.NewReader(text)
	b, _ := io.ReadAll(p)
	return string(b)
}

// What waits is said in clean lines; a key answers a confirmation that somebody can have
// read, and reaches the program otherwise.
func TestPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{make(chan backend.Start), map[uint64]bool{}}
		var said []string
		p := &Prompt{Terminal: g, Say: func(lines []sanitize.Text) {
			for _, l := range lines {
				said = append(said, l.String())
			}
		}}
		go p.Follow()
		tell := func(s backend.Start) {
			g.starts <- s
			synctest.Wait()
		}
		if got := typed(p, "yes"); got != "yes" {
			t.Errorf("nothing was asked: %q", got)
		}
		tell(backend.Start{ID: 1, State: backend.StartConfirm, Argv: []string{"/bin/perl", "\x1b[2Jx"}, Cwd: "/srv", Env: []string{"PATH=\r."}, Reason: "confirm\nthis"})
		if got := typed(p, "y"); got != "y" || len(g.confirmed) > 0 {
			t.Errorf("typed before it could be read: %q", got)
		}
		time.Sleep(tooSoon)
		if got := typed(p, "x"); got != "x" || len(g.confirmed) > 0 {
			t.Errorf("another key: %q", got)
		}
		if got := typed(p, "yls"); got != "ls" || !g.confirmed[1] {
			t.Errorf("%q, confirmed %v", got, g.confirmed)
		}
		tell(backend.Start{ID: 2, State: backend.StartHold, Argv: []string{"rm"}, Reason: "held", Approval: "id\x1b", Approvers: "1 of role:approver"})
		tell(backend.Start{ID: 3, State: backend.StartConfirm, Argv: []string{"perl"}})
		tell(backend.Start{ID: 3, State: backend.StartCanceled, Argv: []string{"perl"}})
		time.Sleep(tooSoon)
		if got := typed(p, "n"); got != "n" || len(g.confirmed) != 1 {
			t.Errorf("nobody asks any more: %q", got)
		}
		close(g.starts)
		synctest.Wait()
		all := strings.Join(said, "\n")
		for _, want := range []string{"in /srv with ", "run it? press y or n", "waits: held", "(1 of role:approver); Ctrl-C", "taken back: perl"} {
			if !strings.Contains(all, want) {
				t.Errorf("%q was not said:\n%s", want, all)
			}
		}
		if strings.ContainsAny(all, "\x1b\r") || len(said) != 3+3+3+1 {
			t.Errorf("%d lines: %q", len(said), said)
		}
	})
}
