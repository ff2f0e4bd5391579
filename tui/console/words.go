package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// verdictWord is a verdict as glyph and word, and its style.
func verdictWord(st *styles, e backend.Effect) (string, uv.Style) {
	switch e {
	case backend.Allow:
		return "✓ allow", st.allow
	case backend.Confirm:
		return "? confirm", st.confirm
	case backend.Hold:
		return "~ hold", st.hold
	}
	return "✗ deny", st.deny
}

// stateGlyph and stateWord say whether a target can be reached.
func stateGlyph(s backend.State) string {
	switch s {
	case backend.Online:
		return "●"
	case backend.Offline:
		return "○"
	}
	return "·"
}

// assuranceSpans says what protects a terminal, most important first. It
// claims nothing that a does not say.
func assuranceSpans(a backend.Assurance, style uv.Style) []span {
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
		spans = append(spans, lit(style, " with "), span{style, peer})
	}
	if a.Policy && a.Recording == "" {
		spans = append(spans, lit(style, " · not recorded"))
	}
	if a.Recording != "" {
		spans = append(spans, lit(style, " · rec "), span{style, brief(a.Recording)})
	}
	if a.Gate != "" {
		spans = append(spans, lit(style, " · gate "), span{style, brief(a.Gate)})
	} else if a.Policy {
		spans = append(spans, lit(style, " · no gate"))
	}
	if a.Path != "" {
		spans = append(spans, lit(style, " · "), span{style, brief(a.Path)})
	}
	return spans
}

func join(style uv.Style, parts []sanitize.Text) []span {
	var spans []span
	for i, p := range parts {
		if i > 0 {
			spans = append(spans, lit(style, " · "))
		}
		spans = append(spans, span{style, p})
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

// leftWord is the time until t, for a count-down.
func leftWord(now, t time.Time) string {
	switch left := t.Sub(now); {
	case t.IsZero():
		return "no limit"
	case left <= 0:
		return "over"
	default:
		return durationWord(left)
	}
}

// durationWord is minutes and seconds, or hours and minutes.
func durationWord(d time.Duration) string {
	if d >= time.Hour {
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

const (
	// maxBrief bounds what a row of a list shows of a text, in bytes. More
	// of it is in the details.
	maxBrief = 256
	// maxClear bounds what a paragraph shows of a text, in bytes, but for
	// the texts of an approval: those are shown whole or not decided.
	maxClear = 4096
)

// brief is the beginning of a text, for a row of a list.
func brief(s string) sanitize.Text { return beginning(s, maxBrief) }

// clean is a text for a paragraph, cut where nobody would read on.
func clean(s string) sanitize.Text { return beginning(s, maxClear) }

func beginning(s string, n int) sanitize.Text {
	if len(s) <= n {
		return sanitize.Clean(s)
	}
	return sanitize.Clean(strings.ToValidUTF8(s[:n], "") + "…")
}

// briefRequest is the beginning of what a request wants to start.
func briefRequest(kind string, argv []string) sanitize.Text {
	size := 0
	for i, word := range argv {
		if size += len(word); size > maxBrief {
			argv = slices.Clone(argv[:i+1])
			argv[i] = word[:max(0, len(word)-(size-maxBrief))] + "…"
			break
		}
	}
	return requestText(kind, argv)
}

// requestText is what a request wants to start.
func requestText(kind string, argv []string) sanitize.Text {
	if len(argv) > 0 {
		return sanitize.Argv(argv)
	}
	if kind == string(backend.KindShell) {
		return sanitize.Literal("a login shell")
	}
	return sanitize.Clean(kind)
}

// requestPara is requestText as a paragraph.
func requestPara(style uv.Style, kind string, argv []string) para {
	label := "Wants"
	if len(argv) > 0 {
		label = labelCommand
	}
	return para{label, requestText(kind, argv), style}
}

// exitWord is how a program ended.
func exitWord(e backend.Exit) sanitize.Text {
	s := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != "" {
		s = "ended by signal " + e.Signal
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return clean(s)
}

// verdictParas explain a verdict: which rule and line, why, and who could
// approve.
func verdictParas(st *styles, v backend.Verdict) []para {
	word, style := verdictWord(st, v.Effect)
	paras := []para{{"Verdict", sanitize.Literal(word), style}}
	rule := "no rule matches, so policy denies"
	if v.Rule != "" {
		rule = v.Rule
		if v.Line > 0 {
			rule += fmt.Sprintf(", line %d of the policy", v.Line)
		}
	} else if v.Effect != backend.Deny {
		rule = "not named"
	}
	paras = append(paras, para{"Rule", clean(rule), st.plain})
	if v.Reason != "" {
		paras = append(paras, para{"Why", clean(v.Reason), st.plain})
	}
	if v.Effect == backend.Hold {
		who := v.Approvers
		if who == "" {
			who = "not said"
		}
		paras = append(paras, para{"Approvers", clean(who), st.plain})
	}
	return paras
}

// errorText is an error without the package names at its front.
func errorText(err error) sanitize.Text {
	s := err.Error()
	for {
		head, rest, ok := strings.Cut(s, ": ")
		if !ok || strings.ContainsAny(head, " \t\"") {
			return clean(s)
		}
		s = rest
	}
}
