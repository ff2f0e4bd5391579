// Package argv makes an argument list of a line that a person typed, without a
// shell: what would need one is refused.
package argv

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Split splits a command line into an argument list: blanks, quotes and
// backslashes as in a shell, and nothing else of a shell. What would need one
// is refused and not passed on as text, because people would take it for done.
func Split(s string) ([]string, error) {
	const shellOnly = "|&;<>()$`*?[]{}~#!\n"
	var (
		argv   []string
		word   strings.Builder
		inWord bool
	)
	if !utf8.ValidString(s) {
		return nil, errors.New("the line is not valid UTF-8")
	}
	r := []rune(s)
	for i := 0; i < len(r); i++ {
		switch c := r[i]; {
		case c == ' ' || c == '\t':
			if inWord {
				argv = append(argv, word.String())
				word.Reset()
				inWord = false
			}
		case c == '\'' || c == '"':
			inWord = true
			start := i
			for i++; i < len(r) && r[i] != c; i++ {
				if c == '"' && r[i] == '\\' && i+1 < len(r) && strings.ContainsRune(`"\$`+"`", r[i+1]) {
					i++
				} else if c == '"' && (r[i] == '$' || r[i] == '`') {
					return nil, fmt.Errorf("%c in double quotes needs a shell: use single quotes, or sh -c '...'", r[i])
				}
				word.WriteRune(r[i])
			}
			if i == len(r) {
				return nil, fmt.Errorf("the quote at character %d is not closed", start+1)
			}
		case c == '\\':
			if i++; i == len(r) {
				return nil, errors.New("nothing follows the last backslash")
			}
			inWord = true
			word.WriteRune(r[i])
		case strings.ContainsRune(shellOnly, c):
			return nil, fmt.Errorf("%c needs a shell, and there is none here: quote it, or use sh -c '...'", c)
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	if inWord {
		argv = append(argv, word.String())
	}
	if len(argv) == 0 {
		return nil, errors.New("type a command first")
	}
	if argv[0] == "" {
		return nil, errors.New("the command's name is empty")
	}
	return argv, nil
}
