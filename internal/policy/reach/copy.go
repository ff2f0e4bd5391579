package reach

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// The kinds of session that carry words of this package.
const (
	KindCopy    = "copy"
	KindForward = "forward"
	KindProxy   = "proxy"
)

// Carries reports whether sessions of a kind do.
func Carries(kind string) bool { return kind == KindCopy || kind == KindForward || kind == KindProxy }

// MaxPath bounds a path, in bytes.
const MaxPath = 4096

// The words of a copy.
const (
	From      = "from" // from the target
	To        = "to"   // to the target
	recursive = "-r"
)

// A Copy is what a copy asks for.
type Copy struct {
	From bool   // from the target; else to it
	Tree bool   // a directory and all below; else one file
	Path string // on the target: absolute, or ~ or ~/… for the user's home
}

// Argv gives the words of a copy. ParseCopy is its inverse.
func (c Copy) Argv() []string {
	words := []string{To}
	if c.From {
		words[0] = From
	}
	if c.Tree {
		words = append(words, recursive)
	}
	return append(words, c.Path)
}

// ParseCopy reads the words of a copy.
func ParseCopy(argv []string) (c Copy, err error) {
	if len(argv) == 3 && argv[1] == recursive {
		c.Tree, argv = true, []string{argv[0], argv[2]}
	}
	if len(argv) != 2 || argv[0] != From && argv[0] != To {
		return Copy{}, errors.New("reach: a copy is: from|to [-r] PATH")
	}
	c.From, c.Path = argv[0] == From, argv[1]
	return c, CheckPath(c.Path)
}

// CheckPath says what is wrong with a path on a target, if something is. Only the one
// spelling of a path is taken, so that what is judged is what is opened.
func CheckPath(path string) error {
	rest, home := strings.CutPrefix(path, "~")
	switch {
	case len(path) > MaxPath || !utf8.ValidString(path) || strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("reach: a path is UTF-8 without NUL, of at most %d bytes", MaxPath)
	case home && rest == "" || path == "/":
		return nil
	case !strings.HasPrefix(rest, "/"):
		return errors.New("reach: a path on a target is absolute, or begins with ~/ for the user's home")
	}
	for name := range strings.SplitSeq(rest[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return errors.New("reach: a path on a target has no empty parts, and neither . nor .. in it")
		}
	}
	return nil
}

// A Paths is a pattern of paths: a glob, in which * is any run of characters. What it
// names it names with all below.
type Paths struct{ glob glob.Glob }

// ParsePaths reads a pattern.
func ParsePaths(s string) (Paths, error) {
	if s == "" || strings.ContainsAny(s, "?[]{}|") {
		return Paths{}, errors.New("write a path; the only wildcard is *")
	}
	plain := strings.TrimSuffix(strings.ReplaceAll(s, "*", "x"), "/")
	if strings.HasPrefix(s, "*") {
		plain = "/" + plain
	}
	if plain != "" {
		if err := CheckPath(plain); err != nil {
			return Paths{}, errors.New(strings.TrimPrefix(err.Error(), "reach: "))
		}
	}
	if strings.HasSuffix(s, "/") {
		s += "*"
	}
	return Paths{glob.New(s)}, nil
}

// String gives the pattern.
func (p Paths) String() string { return p.glob.String() }

// Covers reports whether a copy of c stays within the pattern: dir/* is the directory
// too.
func (p Paths) Covers(c Copy) bool {
	return p.glob.Match(c.Path) || c.Tree && p.glob.Match(strings.TrimSuffix(c.Path, "/")+"/")
}

// Meets reports whether a copy of c touches the pattern: the path, something above it
// that names it, or, of a tree, something below.
func (p Paths) Meets(c Copy) bool {
	path := strings.TrimSuffix(c.Path, "/")
	if p.glob.Match(c.Path) || p.glob.Match(path+"/") || c.Tree && p.glob.Meets(glob.Join([]string{path + "/", ""})) {
		return true
	}
	for i, r := range path {
		if r == '/' && i > 0 && p.glob.Match(path[:i]) {
			return true
		}
	}
	return false
}
