// Package starts tells whoever types at a terminal whose program starts are judged what
// waits, and takes their answer to a confirmation.
//
// Invariants: what is said stands on lines of its own and has passed internal/sanitize;
// a key that was on its way before the question is no answer to it.
//
// It must not import backend/control or a service.
package starts

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Prompt stands between the keyboard and a terminal whose program starts are
// judged. It says, on lines of its own, what waits or did not start, and takes y and n
// for the answer to a confirmation.
type Prompt struct {
	In       io.Reader
	Say      func(lines []sanitize.Text)
	Terminal backend.GatedTerminal

	mu    sync.Mutex
	asked []asked // to be confirmed, oldest first
}

// asked is a start whose confirmation was asked for.
type asked struct {
	id uint64
	at time.Time
}

// tooSoon is how long after the question a key can't be its answer: it was typed for
// the program.
const tooSoon = 500 * time.Millisecond

// Follow says what there is to say, until the terminal ends.
func (p *Prompt) Follow() {
	for s := range p.Terminal.Starts() {
		p.mu.Lock()
		p.forget(s.ID)
		if s.State == backend.StartConfirm {
			p.asked = append(p.asked, asked{s.ID, time.Now()})
		}
		p.mu.Unlock()
		p.Say(startLines(s))
	}
}

func (p *Prompt) forget(id uint64) {
	for i := range p.asked {
		if p.asked[i].id == id {
			p.asked = append(p.asked[:i:i], p.asked[i+1:]...)
			return
		}
	}
}

// startLines are the lines about a start.
func startLines(s backend.Start) []sanitize.Text {
	what := sanitize.Argv(s.Argv)
	if s.Cwd != "" {
		what = sanitize.Join(what, sanitize.Literal(" in "), sanitize.Clean(s.Cwd))
	}
	if len(s.Env) > 0 {
		what = sanitize.Join(what, sanitize.Literal(" with "), sanitize.Argv(s.Env))
	}
	reason := sanitize.Clean(s.Reason)
	say := func(words string, text sanitize.Text) sanitize.Text {
		return sanitize.Join(sanitize.Clean(words), text)
	}
	switch s.State {
	case backend.StartConfirm:
		return []sanitize.Text{reason, say("  ", what), sanitize.Literal("  run it? press y or n")}
	case backend.StartHold:
		asked := fmt.Sprintf("  asked for approval %s (%s); Ctrl-C takes it back", s.Approval, s.Approvers)
		return []sanitize.Text{say("waits: ", reason), say("  ", what), sanitize.Clean(asked)}
	case backend.StartRuns:
		return []sanitize.Text{say("runs: ", what)}
	case backend.StartCanceled:
		return []sanitize.Text{say("taken back: ", what)}
	case backend.StartNoticed:
		return []sanitize.Text{say("noticed, and not stopped (gate advisory): ", what), say("  ", reason)}
	}
	return []sanitize.Text{say(string(s.State)+": ", what), say("  ", reason)}
}

// Read gives what is typed, but for answers.
func (p *Prompt) Read(b []byte) (int, error) {
	for {
		n, err := p.In.Read(b)
		p.mu.Lock()
		yes := n > 0 && (b[0] == 'y' || b[0] == 'Y')
		no := n > 0 && (b[0] == 'n' || b[0] == 'N')
		if !yes && !no || len(p.asked) == 0 || time.Since(p.asked[0].at) < tooSoon {
			p.mu.Unlock()
			return n, err
		}
		id := p.asked[0].id
		p.asked = p.asked[1:]
		p.mu.Unlock()
		p.Terminal.Confirm(id, yes)
		if n > 1 { // what was typed ahead is the program's
			return copy(b, b[1:n]), err
		}
		if err != nil {
			return 0, err
		}
	}
}
