// Package prompts is the dialogs in which the console asks before it does: what to
// run, why one needs what is held, whether one is sure. What they give goes back to the
// model, which acts on it.
//
// Invariants: a verdict is shown with its rule and its reason before anything is asked
// for; what can't be taken back is typed, never one key.
package prompts

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/argv"
	"github.com/tucdesk/tucdesk/tui/console/asking"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// Yes gives do once "yes" was typed.
func Yes(do any) func(string) (any, error) {
	return func(s string) (any, error) {
		if strings.TrimSpace(s) != "yes" {
			return nil, errors.New("type yes, or esc to go back")
		}
		return do, nil
	}
}

// Quit asks where terminals still run.
func Quit(running int) dialog.Dialog {
	return &dialog.Prompt{
		Title: sanitize.Literal("Quit"),
		Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{{Label: "", Text: sanitize.Clean(fmt.Sprintf("Terminals that still run: %d. Quitting ends their programs.", running)), Style: st.Warn}}
		},
		Label:  "Type yes to quit",
		Does:   "quit",
		Submit: Yes(dialog.DoQuit{}),
	}
}

// Exec asks for a command to run on targets. what says on which; do makes of the
// command what the model acts on.
func Exec(what []canvas.Para, do func(words []string) any) dialog.Dialog {
	return &dialog.Prompt{
		Title: sanitize.Literal("Run one command"),
		Body: func(st *canvas.Styles) []canvas.Para {
			return append(what[:len(what):len(what)],
				canvas.Para{Label: "", Text: sanitize.Literal("There is no shell in between: words go to the program as they are."), Style: st.Faint})
		},
		Label: "Command",
		Does:  "run",
		Preview: func(s string) (sanitize.Text, bool) {
			words, err := argv.Split(s)
			if err != nil {
				return sanitize.Clean(err.Error()), false
			}
			return sanitize.Argv(words), true
		},
		Submit: func(s string) (any, error) {
			words, err := argv.Split(s)
			if err != nil {
				return nil, err
			}
			return do(words), nil
		},
	}
}

// Raw says what it means that a program has the screen as it is. Confirmed, it gives do.
func Raw(name sanitize.Text, prefix string, do any) dialog.Dialog {
	return &dialog.Prompt{
		Title: sanitize.Literal("Zoom raw: leave the screen to this program?"),
		Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{
				{Label: "Target", Text: name, Style: st.Bold},
				{Text: sanitize.Literal("What it sends reaches your terminal as it is: it can draw anything, set titles, and reach your clipboard where your terminal lets it. Nothing of the console is on the screen meanwhile, and no approval."), Style: st.Warn},
				{Text: sanitize.Clean(prefix + " brings the console back."), Style: st.Plain},
			}
		},
		Label:  "Type yes",
		Submit: Yes(do),
	}
}

// maxNames is how many targets are named before the rest is counted.
const maxNames = 20

// ExecOnMany is Exec for several targets.
func ExecOnMany(targets []backend.Target, do func(words []string) any) dialog.Dialog {
	var names []sanitize.Text
	for i, t := range targets[:min(len(targets), maxNames)] {
		if i > 0 {
			names = append(names, sanitize.Literal(", "))
		}
		names = append(names, phrase.Brief(t.Name))
	}
	if more := len(targets) - maxNames; more > 0 {
		names = append(names, sanitize.Clean(fmt.Sprintf(" and %d more", more)))
	}
	return Exec([]canvas.Para{{Label: fmt.Sprintf("%d marked", len(targets)), Text: sanitize.Join(names...)}}, do)
}

// Verdict is what a verdict other than allow leads to. asks says whether the backend
// can ask people.
func Verdict(req backend.OpenRequest, name sanitize.Text, v backend.Verdict, asks bool) dialog.Dialog {
	body := func(st *canvas.Styles) []canvas.Para {
		return append([]canvas.Para{
			{Label: "Target", Text: name, Style: st.Bold},
			phrase.Request(st.Plain, string(req.Kind), req.Argv),
		}, phrase.WhyVerdict(st, v)...)
	}
	switch {
	case v.Effect == backend.Confirm:
		confirmed := req
		confirmed.Confirmed = true
		return &dialog.Prompt{Title: sanitize.Literal("Look twice"), Body: body, Label: "Type yes to go on", Submit: Yes(dialog.DoOpen{Req: confirmed})}
	case v.Effect == backend.Hold && asks:
		return asking.New(req, v, body)
	}
	return &dialog.Notice{Title: sanitize.Literal("Denied"), Body: func(st *canvas.Styles) []canvas.Para {
		end := "Nobody can approve this here. Only a change of the policy, by those who sign it, opens it."
		if v.Effect == backend.Hold {
			end = "It needs approval, and this backend can't ask for one."
		}
		return append(body(st), canvas.Para{}, canvas.Para{Label: "", Text: sanitize.Literal(end), Style: st.Plain})
	}}
}
