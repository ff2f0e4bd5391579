package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// shellWords have a meaning of their own where a command's name stands.
var shellWords = map[string]bool{
	"if": true, "then": true, "else": true, "elif": true, "fi": true, "do": true, "done": true,
	"case": true, "esac": true, "while": true, "until": true, "for": true, "in": true,
	"function": true, "time": true, "select": true, "coproc": true,
}

// Argv returns an argument list as a bash command line that means exactly this
// list. Words of harmless ASCII stand bare, other visible words in quotes. A
// word with anything else, also with text that is not in Unicode NFC, goes
// from right to left or mixes alphabets, stands as $'…' with every rune
// outside ASCII escaped. Two different lists never give the same text.
func Argv(argv []string) Text {
	var b strings.Builder
	for i, word := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch {
		case isBare(word) && (i > 0 || !strings.Contains(word, "=") && !shellWords[word]):
			b.WriteString(word)
		case isQuotable(word):
			b.WriteString("'" + word + "'")
		default:
			writeEscaped(&b, word)
		}
	}
	return Text{b.String()}
}

// isBare says whether a shell takes the word as it is.
func isBare(word string) bool {
	for i := 0; i < len(word); i++ {
		c := word[i]
		if !(isWord(rune(c)) && c < utf8.RuneSelf || strings.IndexByte("%+,-./:=@_", c) >= 0) {
			return false
		}
	}
	return word != ""
}

// isQuotable says whether every rune of the word can be read off the screen.
func isQuotable(word string) bool {
	if strings.Contains(word, "'") {
		return false
	}
	if isPlainASCII(word) {
		return true
	}
	if !norm.NFC.IsNormalString(word) || Clean(word).s != word {
		return false
	}
	for _, r := range word {
		if unicode.Is(unicode.M, r) || isRightToLeft(r) {
			return false
		}
	}
	return true
}

func writeEscaped(b *strings.Builder, word string) {
	b.WriteString("$'")
	for i := 0; i < len(word); {
		r, n := utf8.DecodeRuneInString(word[i:])
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
			fmt.Fprintf(b, `\x%02x`, word[i])
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
		i += n
	}
	b.WriteByte('\'')
}
