package approvals

import (
	"errors"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/together"
)

// ErrNoReason means a no without a reason.
var ErrNoReason = errors.New("a reason is needed")

// A Request shows one approval, or all that were asked for together, and lets it be
// decided.
type Request struct {
	Seen    together.Plan // what is on the screen
	changed bool          // it is not what it was
	Read    bool          // its end was on the screen
	Hints   *keymap.Keys  // what hints name
	dialog.Scroller
}

// Keys implements dialog.Dialog.
func (r *Request) Keys() *keymap.Map { return &keymap.RequestKeys }

// Paste implements dialog.Dialog.
func (r *Request) Paste(string) {}

// Update takes it as the backend has it now.
func (r *Request) Update(p together.Plan) {
	if !slices.EqualFunc(r.Seen, p, same) {
		r.changed, r.Read, r.Top = true, false, 0
	}
	r.Seen = p
}

// decidable says whether this member could decide all of it now.
func (r *Request) decidable(now time.Time) bool {
	return !slices.ContainsFunc(r.Seen, func(a backend.Approval) bool { return !Decidable(a, now) })
}

// turn says why a yes is not asked for yet.
func (r *Request) turn() string {
	for _, a := range r.Seen {
		if a.Turn != "" {
			return a.Turn
		}
	}
	return ""
}

// Key implements dialog.Dialog.
func (r *Request) Key(k tea.KeyPressMsg, now time.Time) dialog.Outcome {
	a := keymap.RequestKeys.Lookup(k.String())
	r.Move(a)
	switch a {
	case keymap.ActBack:
		return dialog.Outcome{Close: true}
	case keymap.ActApprove:
		if r.decidable(now) && r.turn() == "" && r.Seen.IsWhole() && r.Read {
			return dialog.Outcome{Do: dialog.DoDialog{Next: r.approvePrompt()}}
		}
	case keymap.ActDeny:
		if r.decidable(now) {
			return dialog.Outcome{Do: dialog.DoDialog{Next: r.denyPrompt()}}
		}
	}
	return dialog.Outcome{}
}

// hint is the line below the request: what can be done, and why not.
func (r *Request) hint(st *canvas.Styles, now time.Time) canvas.Span {
	key := func(a keymap.Action) string { return r.Hints.Key(&keymap.RequestKeys, a) }
	say := func(style uv.Style, words string) canvas.Span {
		return canvas.Span{Style: style, Text: sanitize.Clean(words)}
	}
	switch {
	case r.Seen[0].Mine && waits(r.Seen[0], now):
		return canvas.Lit(st.Faint, "yours: waiting for somebody else")
	case !r.decidable(now):
		return say(st.Faint, "nothing to decide; "+key(keymap.ActBack)+" goes back")
	case r.turn() != "":
		return say(st.Faint, "an earlier step waits; "+key(keymap.ActDeny)+" denies")
	case !r.Seen.IsWhole():
		return say(st.Warn, "not all of it is here: "+key(keymap.ActDeny)+" denies")
	case r.changed && !r.Read:
		return canvas.Lit(st.Warn, "it changed while you read: read it again to its end")
	case !r.Read:
		return say(st.Warn, "more below: "+key(keymap.ActDown)+" to its end, then "+key(keymap.ActApprove)+" approves; "+key(keymap.ActDeny)+" denies")
	}
	return say(st.Ok, key(keymap.ActApprove)+" approves, "+key(keymap.ActDeny)+" denies")
}

// Draw implements dialog.Dialog.
func (r *Request) Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time) *tea.Cursor {
	cols := min(dialog.Cols, area.Dx())
	rows := canvas.Layout(PlanParas(c.Styles, r.Seen, now), cols-4)
	inside := c.Box(dialog.Area(area, cols, len(rows)+3), sanitize.Literal("Request"))
	text := uv.Rect(inside.Min.X, inside.Min.Y, inside.Dx(), inside.Dy()-1)
	r.Scroller.Draw(c, text, rows)
	r.Read = r.Read || r.AtEnd()
	c.Spans(inside.Min.X, inside.Max.Y-1, inside.Dx(), r.hint(c.Styles, now))
	return nil
}

// summary is the request again, in the prompt that decides it.
func (r *Request) summary(st *canvas.Styles) []canvas.Para {
	paras := []canvas.Para{{Label: "Operator", Text: sanitize.Clean(r.Seen[0].Operator), Style: st.Plain}}
	if !r.Seen.IsOne() {
		paras = append(paras, canvas.Para{Label: "Plan", Text: sanitize.Clean(r.Seen.Size()), Style: st.Plain})
	}
	for _, one := range r.Seen.Groups() {
		paras = append(paras, canvas.Para{Label: "Target", Text: sanitize.Clean(one.Target), Style: st.Plain}, phrase.Request(st.Bold, one.Kind, one.Argv))
	}
	return paras
}

func (r *Request) approvePrompt() dialog.Dialog {
	seen := r.Seen
	p := &dialog.Prompt{
		Title: sanitize.Literal("Approve"),
		Body:  r.summary,
		Label: "Reason, if you like",
		Does:  "approve",
		Submit: func(reason string) (any, error) {
			return dialog.DoDecide{Seen: seen, Decision: backend.Decision{Approve: true, Reason: strings.TrimSpace(reason)}}, nil
		},
	}
	if slices.ContainsFunc(seen, Typed) {
		word, called := seen.Word()
		word = sanitize.Clean(word).String()
		p.Title = sanitize.Literal("Approve: high risk")
		p.Label = "Type " + called
		p.Submit = func(s string) (any, error) {
			if s != word {
				return nil, errors.New("that is not " + called)
			}
			return dialog.DoDecide{Seen: seen, Decision: backend.Decision{Approve: true}}, nil
		}
	}
	return p
}

func (r *Request) denyPrompt() dialog.Dialog {
	seen := r.Seen
	return &dialog.Prompt{
		Title: sanitize.Literal("Deny"),
		Body:  r.summary,
		Label: "Why? They will read it.",
		Does:  "deny",
		Submit: func(reason string) (any, error) {
			if reason = strings.TrimSpace(reason); reason == "" {
				return nil, ErrNoReason
			}
			return dialog.DoDecide{Seen: seen, Decision: backend.Decision{Reason: reason}}, nil
		},
	}
}
