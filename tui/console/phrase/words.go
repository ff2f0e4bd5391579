// Package phrase is the words in which the console says what a backend says:
// verdicts, states, ends, what protects a terminal. It claims nothing that the
// backend does not say, and says nothing by colour alone.
package phrase

import (
	"fmt"
	"slices"
	"strings"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// Verdict is a verdict as glyph and word, and its style.
func Verdict(st *canvas.Styles, e backend.Effect) (string, uv.Style) {
	switch e {
	case backend.Allow:
		return "✓ allow", st.Allow
	case backend.Confirm:
		return "? confirm", st.Confirm
	case backend.Hold:
		return "~ hold", st.Hold
	}
	return "✗ deny", st.Deny
}

// State is a glyph that says whether a target can be reached. Its word goes with it.
func State(s backend.State) string {
	switch s {
	case backend.Online:
		return "●"
	case backend.Offline:
		return "○"
	}
	return "·"
}

// Assurance says what protects a terminal, most important first. It
// claims nothing that a does not say.
func Assurance(a backend.Assurance, style uv.Style) []canvas.Span {
	var parts []sanitize.Text
	add := func(s string) { parts = append(parts, sanitize.Literal(s)) }
	peer := sanitize.Clean(shorten(a.Peer, 16))
	switch {
	case !a.Policy && a.Recording == "":
		add("no policy, not recorded")
	case !a.Policy:
		add("no policy")
	}
	switch {
	case a.E2EE && a.Peer != "":
		add("E2EE")
	case a.E2EE:
		add("E2EE, peer unknown")
	default:
		add("not E2EE")
	}
	spans := join(style, parts)
	if a.E2EE && a.Peer != "" {
		spans = append(spans, canvas.Lit(style, " with "), canvas.Span{Style: style, Text: peer})
	}
	if a.Policy && a.Recording == "" {
		spans = append(spans, canvas.Lit(style, " · not recorded"))
	}
	if a.Recording != "" {
		spans = append(spans, canvas.Lit(style, " · rec "), canvas.Span{Style: style, Text: Brief(a.Recording)})
	}
	if a.Gate != "" {
		spans = append(spans, canvas.Lit(style, " · gate "), canvas.Span{Style: style, Text: Brief(a.Gate)})
	} else if a.Policy {
		spans = append(spans, canvas.Lit(style, " · no gate"))
	}
	if a.Path != "" {
		spans = append(spans, canvas.Lit(style, " · "), canvas.Span{Style: style, Text: Brief(Way(a))})
	}
	return spans
}

// Way says how a terminal's bytes travel, and how long that takes there and back;
// empty where it is not known.
func Way(a backend.Assurance) string {
	switch {
	case a.Path == "" || a.RTT <= 0:
		return a.Path
	case a.RTT < time.Millisecond:
		return a.Path + " <1 ms"
	}
	return fmt.Sprintf("%s %d ms", a.Path, a.RTT.Round(time.Millisecond).Milliseconds())
}

func join(style uv.Style, parts []sanitize.Text) []canvas.Span {
	var spans []canvas.Span
	for i, p := range parts {
		if i > 0 {
			spans = append(spans, canvas.Lit(style, " · "))
		}
		spans = append(spans, canvas.Span{Style: style, Text: p})
	}
	return spans
}

// shorten cuts an identifier to n runes.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// Left is the time until t, for a count-down.
func Left(now, t time.Time) string {
	switch left := t.Sub(now); {
	case t.IsZero():
		return "no limit"
	case left <= 0:
		return "over"
	default:
		return Duration(left)
	}
}

// Duration is minutes and seconds, or hours and minutes.
func Duration(d time.Duration) string {
	if d >= time.Hour {
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

const (
	// maxBrief bounds what a row of a list shows of a text, in bytes. More
	// of it is in the details.
	MaxBrief = 256
	// maxClear bounds what a paragraph shows of a text, in bytes, but for
	// the texts of an approval: those are shown whole or not decided.
	maxClear = 4096
)

// Brief is the beginning of a text, for a row of a list.
func Brief(s string) sanitize.Text { return beginning(s, MaxBrief) }

// Clean is a text for a paragraph, cut where nobody would read on.
func Clean(s string) sanitize.Text { return beginning(s, maxClear) }

func beginning(s string, n int) sanitize.Text {
	if len(s) <= n {
		return sanitize.Clean(s)
	}
	return sanitize.Clean(strings.ToValidUTF8(s[:n], "") + "…")
}

// BriefRequest is the beginning of what a request wants to start.
func BriefRequest(kind string, argv []string) sanitize.Text {
	size := 0
	for i, word := range argv {
		if size += len(word); size > MaxBrief {
			argv = slices.Clone(argv[:i+1])
			argv[i] = word[:max(0, len(word)-(size-MaxBrief))] + "…"
			break
		}
	}
	return requestText(kind, argv)
}

// requestText is what a request wants to start.
func requestText(kind string, argv []string) sanitize.Text {
	switch {
	case len(argv) > 0 && (kind == "" || kind == string(backend.KindExec)):
		return sanitize.Argv(argv)
	case len(argv) > 0: // what a copy, a forward or a proxy asks for
		return sanitize.Argv(append([]string{kind}, argv...))
	}
	if kind == string(backend.KindShell) {
		return sanitize.Literal("a login shell")
	}
	return sanitize.Clean(kind)
}

// Request is requestText as a paragraph.
func Request(style uv.Style, kind string, argv []string) canvas.Para {
	label := "Wants"
	if len(argv) > 0 {
		label = canvas.LabelCommand
	}
	return canvas.Para{Label: label, Text: requestText(kind, argv), Style: style}
}

// Exit is how a program ended.
func Exit(e backend.Exit) sanitize.Text {
	s := fmt.Sprintf("exit code %d", e.Code)
	switch {
	case e.Signal != "":
		s = "ended by signal " + e.Signal
	case e.Code == 0 && e.Reason != "":
		s = "ended" // by TucDesk, and nobody has seen a code
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return Clean(s)
}

// WhyVerdict explains a verdict: which rule and line, why, and who could
// approve.
func WhyVerdict(st *canvas.Styles, v backend.Verdict) []canvas.Para {
	word, style := Verdict(st, v.Effect)
	paras := []canvas.Para{{Label: "Verdict", Text: sanitize.Literal(word), Style: style}}
	rule := "no rule matches, so policy denies"
	if v.Rule != "" {
		rule = v.Rule
		if v.Line > 0 {
			rule += fmt.Sprintf(", line %d of the policy", v.Line)
		}
	} else if v.Effect != backend.Deny {
		rule = "not named"
	}
	paras = append(paras, canvas.Para{Label: "Rule", Text: Clean(rule), Style: st.Plain})
	if v.Reason != "" {
		paras = append(paras, canvas.Para{Label: "Why", Text: Clean(v.Reason), Style: st.Plain})
	}
	if v.Effect == backend.Hold {
		who := v.Approvers
		if who == "" {
			who = "not said"
		}
		paras = append(paras, canvas.Para{Label: "Approvers", Text: Clean(who), Style: st.Plain})
	}
	return paras
}

// Error is an error without the package names at its front.
func Error(err error) sanitize.Text {
	s := err.Error()
	for {
		head, rest, ok := strings.Cut(s, ": ")
		if !ok || strings.ContainsAny(head, " \t\"") {
			return Clean(s)
		}
		s = rest
	}
}
