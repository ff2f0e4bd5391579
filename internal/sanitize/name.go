package sanitize

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxName is the longest name, in bytes.
const MaxName = 128

// A NameError says why a name may not enter the system.
type NameError struct {
	Name Text // as it can be shown
	Why  string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("sanitize: name %q refused: it %s", e.Name.s, e.Why)
}

// Name says whether the name of an agent, member, tag or rule may enter the
// system. It must be 1 to MaxName bytes of valid UTF-8 in Unicode NFC, without
// a space at either end, and without anything that Clean would mark. A refusal
// is a *NameError.
func Name(s string) error {
	clean := Clean(truncate(s, 2*MaxName))
	refuse := func(why string) error { return &NameError{Name: clean, Why: why} }
	switch {
	case s == "":
		return refuse("is empty")
	case len(s) > MaxName:
		return refuse(fmt.Sprintf("has %d bytes; at most %d are allowed", len(s), MaxName))
	case !utf8.ValidString(s):
		return refuse("is not valid UTF-8")
	case !isPlainASCII(s) && !norm.NFC.IsNormalString(s):
		return refuse("is not in Unicode NFC form; write it in composed form")
	case clean.s != s:
		return refuse("holds controls, bidi marks, invisible runes or look-alike letters; remove what is marked")
	case strings.TrimSpace(s) != s:
		return refuse("begins or ends with a space")
	}
	return nil
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}
