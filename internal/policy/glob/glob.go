// Package glob matches names and words with stars.
//
// Purpose: one wildcard language for the names in a policy and the words of
// its command patterns: `*` is any run of bytes, everything else is itself.
//
// Invariants: a Glob does not change; matching takes no memory and time in
// proportion to pattern times text. The zero Glob matches nothing.
//
// It must not import any package of this module.
package glob

import (
	"slices"
	"strings"
)

// A Glob is literal pieces between stars; each star stands for any run of
// bytes, also none. One piece is a literal. The zero Glob matches nothing.
//
// It serves twice: as a pattern of the document, and as a word of a command of
// which only some parts can be read.
type Glob struct{ pieces []string }

// New reads a pattern; every * in s is a star.
func New(s string) Glob { return Glob{strings.Split(s, "*")} }

// Literal makes a Glob that matches s only, also where it holds a *.
func Literal(s string) Glob { return Glob{[]string{s}} }

// Join makes a Glob of literal pieces with a star between each two.
func Join(pieces []string) Glob { return Glob{pieces} }

// Begins says whether everything that the Glob matches begins with s.
func (g Glob) Begins(s string) bool { return len(g.pieces) > 0 && strings.HasPrefix(g.pieces[0], s) }

// In returns the Glob with a directory before it, if it is not absolute.
func (g Glob) In(dir string) Glob {
	if len(g.pieces) == 0 || g.Begins("/") {
		return g
	}
	pieces := slices.Clone(g.pieces)
	pieces[0] = strings.TrimSuffix(dir, "/") + "/" + pieces[0]
	return Glob{pieces}
}

// IsLiteral says whether the Glob has no star.
func (g Glob) IsLiteral() bool { return len(g.pieces) == 1 }

// Any says whether one of the globs matches s.
func Any(globs []Glob, s string) bool {
	for i := range globs {
		if globs[i].Match(s) {
			return true
		}
	}
	return false
}

// String returns the glob with stars.
func (g Glob) String() string { return strings.Join(g.pieces, "*") }

// Match says whether the Glob matches the whole of s.
func (g Glob) Match(s string) bool { return g.matchWith(s, false) }

// MatchFold ignores the case of ASCII letters in s; g must be in lower case.
func (g Glob) MatchFold(s string) bool { return g.matchWith(s, true) }

func (g Glob) matchWith(s string, fold bool) bool {
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

// Meets says whether some text matches both globs.
func (g Glob) Meets(h Glob) bool {
	switch {
	case len(g.pieces) == 0 || len(h.pieces) == 0:
		return false
	case h.IsLiteral():
		return g.Match(h.pieces[0])
	case g.IsLiteral():
		return h.Match(g.pieces[0])
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

// Lower returns s with ASCII letters in lower case, as MatchFold wants patterns.
func Lower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}
