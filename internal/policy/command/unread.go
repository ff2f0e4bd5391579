package command

import (
	"path"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// Unread names what an argument list runs whose content is not in its words: an
// interpreter that takes a file, a module or its input, or a program that lies
// outside the system's own directories. It is "" where there is none that can be
// seen. Who approves the words has not seen that content. Files that words in covered
// name are taken for seen.
func Unread(argv []string, covered ...string) string {
	r := readProgram(&Program{Argv: argv})
	for _, c := range r.commands {
		if len(c.argv) == 0 {
			continue
		}
		first := c.argv[0].String()
		if strings.Contains(first, "/") && !inSystemDir(first) {
			if slices.Contains(covered, first) {
				continue
			}
			return first
		}
		for _, name := range c.names {
			interpreter := glob.Any(programs().classes["interpreter"], name)
			if (interpreter || glob.Any(programs().classes["shell"], name)) && !inline(c.argv[1:]) && !slices.Contains(covered, operand(c.argv[1:])) {
				return name
			}
		}
	}
	return ""
}

// packaged are where a machine keeps the programs that its packages bring.
var packaged = []string{"/bin/", "/sbin/", "/usr/", "/opt/", "/nix/store/"}

func inSystemDir(p string) bool {
	p = path.Clean(p)
	return path.IsAbs(p) && !strings.HasPrefix(p, "/usr/local/") &&
		slices.ContainsFunc(packaged, func(dir string) bool { return strings.HasPrefix(p, dir) })
}

// operand gives the first word that is no option, or "".
func operand(args []word) string {
	for _, w := range args {
		if a := w.String(); !strings.HasPrefix(a, "-") && w.IsLiteral() {
			return a
		}
	}
	return ""
}

// inline reports whether an interpreter's code stands in its words, after -c or -e.
func inline(args []word) bool {
	for _, w := range args {
		a := w.String()
		if !strings.HasPrefix(a, "-") || strings.HasPrefix(a, "--") {
			return false
		}
		if strings.ContainsAny(a, "ce") {
			return true
		}
	}
	return false
}
