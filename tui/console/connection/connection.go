// Package connection is what the console says of a terminal's way to its target: what
// protects it, and that it is lost. It claims nothing that the backend does not say.
package connection

import (
	"errors"
	"fmt"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/pane"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// DrawLost lays a banner over a terminal that is frozen: since when, what is being
// done about it, and for how long.
func DrawLost(c *canvas.Canvas, area uv.Rectangle, link backend.Link, now time.Time) {
	text := "Nothing was heard of it for " + phrase.Duration(max(0, now.Sub(link.Since))) + ". It is tried again and again, and goes on by itself."
	if !link.Until.IsZero() {
		text += " The machine keeps it for " + phrase.Left(now, link.Until) + "."
	}
	paras := []canvas.Para{
		{Text: sanitize.Literal("What you type is kept, and arrives then."), Style: c.Styles.Plain},
	}
	paras = append([]canvas.Para{{Text: sanitize.Clean(text), Style: c.Styles.Plain}}, paras...)
	if link.Why != "" {
		paras = append(paras, canvas.Para{Label: "Last try", Text: phrase.Clean(link.Why), Style: c.Styles.Faint})
	}
	cols := min(dialog.Cols, area.Dx())
	rows := canvas.Layout(paras, max(1, cols-4))
	height := min(len(rows)+2, area.Dy())
	if cols < 8 || height < 3 {
		return
	}
	box := uv.Rect(area.Min.X+(area.Dx()-cols)/2, area.Min.Y, cols, height)
	c.Rows(c.Box(box, sanitize.Literal("the link is lost, the terminal is frozen")), rows, 0)
}

// Details is what protects a terminal, in full.
func Details(st *canvas.Styles, a backend.Assurance) (paras []canvas.Para) {
	say := func(label, word, without string) {
		if word == "" {
			paras = append(paras, canvas.Para{Label: label, Text: sanitize.Literal(without), Style: st.Warn})
		} else {
			paras = append(paras, canvas.Para{Label: label, Text: phrase.Clean(word), Style: st.Plain})
		}
	}
	encrypted, policy := "", ""
	if a.E2EE {
		encrypted = "end to end, to the peer below"
	}
	if a.Policy {
		policy = "a policy allowed this terminal"
	}
	say("Encrypted", encrypted, "not end to end")
	say("Peer", a.Peer, "not known")
	say("Path", phrase.Way(a), "not known")
	say("Policy", policy, "no policy")
	say("Gate", a.Gate, "commands inside are not gated")
	say("Recording", a.Recording, "not recorded")
	return paras
}

// Status is the line below a terminal: first what its pane has to say, then what
// protects it. scroll says that keys scroll.
func Status(style uv.Style, keys *keymap.Keys, st pane.Status, scroll bool, a backend.Assurance) []canvas.Span {
	var spans []canvas.Span
	say := func(text sanitize.Text) {
		spans = append(spans, canvas.Span{Style: style, Text: text}, canvas.Lit(style, " · "))
	}
	closes := keys.Key(&keymap.TerminalKeys, keymap.ActCloseTab) + " closes"
	again := keys.Key(&keymap.TerminalKeys, keymap.ActAgain) + " opens again, " + closes
	if scroll || st.Back > 0 {
		say(sanitize.Clean(fmt.Sprintf("%d of %d lines back, %s returns", st.Back, st.History, keys.Key(&keymap.ScrollKeys, keymap.ActBack))))
	}
	switch {
	case st.Ended && errors.Is(st.Err, backend.ErrGone):
		say(sanitize.Clean("its backend has ended: " + closes))
		say(phrase.Error(st.Err))
	case st.Ended && st.Err != nil:
		say(sanitize.Clean("the link was lost; " + again))
		say(phrase.Error(st.Err))
	case st.Ended:
		say(phrase.Exit(st.Exit))
		say(sanitize.Clean(again))
	}
	if st.Resets > 0 {
		say(sanitize.Literal("display was reset: the program sent something that could not be drawn"))
	}
	if st.Lost {
		say(sanitize.Literal("INPUT REFUSED: the program does not read"))
	}
	return append(spans, phrase.Assurance(a, style)...)
}
