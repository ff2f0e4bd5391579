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
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Prompt stands between the keyboard and a terminal whose program starts are
// judged. It says, on a line of its own, what waits or did not start, and takes y and n
// for the answer to a confirmation.
type Prompt struct {
	In       io.Reader
	Out      io.Writer
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
		fmt.Fprint(p.Out, startLines(s))
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

// startLines are the lines about a start. The terminal is raw: a line ends in \r\n.
func startLines(s backend.Start) string {
	what := sanitize.Argv(s.Argv).String()
	if s.Cwd != "" {
		what += " in " + sanitize.Clean(s.Cwd).String()
	}
	if len(s.Env) > 0 {
		what += " with " + sanitize.Argv(s.Env).String()
	}
	reason := sanitize.Clean(s.Reason).String()
	var lines []string
	switch s.State {
	case backend.StartConfirm:
		lines = []string{reason, "  " + what, "  run it? press y or n"}
	case backend.StartHold:
		lines = []string{"waits: " + reason, "  " + what,
			fmt.Sprintf("  asked for approval %s (%s); Ctrl-C takes it back", sanitize.Clean(string(s.Approval)), sanitize.Clean(s.Approvers))}
	case backend.StartRuns:
		lines = []string{"runs: " + what}
	case backend.StartCanceled:
		lines = []string{"taken back: " + what}
	case backend.StartNoticed:
		lines = []string{"noticed, and not stopped (gate advisory): " + what, "  " + reason}
	default:
		lines = []string{string(s.State) + ": " + what, "  " + reason}
	}
	return "\r\ntucdesk: " + strings.Join(lines, "\r\n") + "\r\n"
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
