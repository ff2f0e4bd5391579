package policy

import "strings"

// A glob is literal pieces between stars; each star stands for any run of
// bytes, also none. One piece is a literal. The zero glob matches nothing.
//
// It serves twice: as a pattern of the document, and as a word of a command of
// which only some parts can be read.
type glob struct{ pieces []string }

func newGlob(s string) glob    { return glob{strings.Split(s, "*")} }
func literal(s string) glob    { return glob{[]string{s}} }
func (g glob) isLiteral() bool { return len(g.pieces) == 1 }

// String returns the glob with stars.
func (g glob) String() string { return strings.Join(g.pieces, "*") }

func (g glob) match(s string) bool { return g.matchWith(s, false) }

// matchFold ignores the case of ASCII letters in s; g must be in lower case.
func (g glob) matchFold(s string) bool { return g.matchWith(s, true) }

func (g glob) matchWith(s string, fold bool) bool {
	n := len(g.pieces)
	switch n {
	case 0:
		return false
	case 1:
		return len(s) == len(g.pieces[0]) && hasPrefix(s, g.pieces[0], fold)
	}
	first, last := g.pieces[0], g.pieces[n-1]
	if len(s) < len(first)+len(last) || !hasPrefix(s, first, fold) || !hasPrefix(s[len(s)-len(last):], last, fold) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range g.pieces[1 : n-1] {
		for !hasPrefix(s, piece, fold) {
			if len(s) <= len(piece) {
				return false
			}
			s = s[1:]
		}
		s = s[len(piece):]
	}
	return true
}

func hasPrefix(s, prefix string, fold bool) bool {
	if len(s) < len(prefix) {
		return false
	}
	if !fold {
		return s[:len(prefix)] == prefix
	}
	for i := 0; i < len(prefix); i++ {
		if lower(s[i]) != prefix[i] {
			return false
		}
	}
	return true
}

// meets says whether some text matches both globs.
func (g glob) meets(h glob) bool {
	switch {
	case len(g.pieces) == 0 || len(h.pieces) == 0:
		return false
	case h.isLiteral():
		return g.match(h.pieces[0])
	case g.isLiteral():
		return h.match(g.pieces[0])
	}
	// Both have a star: after the ends are compared, what stands between can
	// be put one after the other.
	gl, hl := g.pieces[len(g.pieces)-1], h.pieces[len(h.pieces)-1]
	return (strings.HasPrefix(g.pieces[0], h.pieces[0]) || strings.HasPrefix(h.pieces[0], g.pieces[0])) &&
		(strings.HasSuffix(gl, hl) || strings.HasSuffix(hl, gl))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}
