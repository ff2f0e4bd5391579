package prompts

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
)

const (
	// A paste of more lines than this is shown first, also where the program
	// says that it can tell a paste from typing.
	pasteLines = 20
	// pasteShown bounds what is shown of a paste, in bytes.
	pasteShown = 16 << 10
)

// oneEnd ends all lines alike.
func oneEnd(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
}

// WhyPaste says why a paste is to be read before it is sent; empty where it is not.
// Each line but the last would run at once in a program that takes a paste for
// typing.
func WhyPaste(text string, bracketed bool) string {
	lines := strings.Count(strings.TrimRight(oneEnd(text), "\n"), "\n") + 1
	hidden := strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r)
	})
	switch {
	case hidden:
		return "It holds control characters, which you could not see where you copied it."
	case lines > 1 && !bracketed:
		return fmt.Sprintf("It has %d lines, and this program takes each as if you had typed it and pressed enter.", lines)
	case lines > pasteLines:
		return fmt.Sprintf("It has %d lines.", lines)
	}
	return ""
}

// Paste shows what would be pasted, and into what. Confirmed, it gives do.
func Paste(into sanitize.Text, text, why string, do any) dialog.Dialog {
	shown, cut := text, 0
	if len(shown) > pasteShown {
		shown, cut = strings.ToValidUTF8(shown[:pasteShown], ""), len(text)-pasteShown
	}
	lines := sanitize.Block(oneEnd(shown))
	return &dialog.Prompt{
		Title: sanitize.Literal("Paste this?"),
		Body: func(st *canvas.Styles) []canvas.Para {
			paras := []canvas.Para{{Label: "Into", Text: into, Style: st.Bold}, {Text: sanitize.Clean(why), Style: st.Warn}, {}}
			for _, l := range lines {
				paras = append(paras, canvas.Para{Text: l, Style: st.Plain})
			}
			if cut > 0 {
				paras = append(paras, canvas.Para{}, canvas.Para{Text: sanitize.Clean(fmt.Sprintf("... and %d bytes that are not shown here", cut)), Style: st.Warn})
			}
			return paras
		},
		Label:  "Type yes to paste",
		Submit: Yes(do),
	}
}
