package command

import (
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// steerMark stands for a text that nobody knows yet.
const steerMark = "tucdesk-unknown-text"

// probes are texts around the mark that a shell would read as the start of a program,
// wherever in a line it finds them.
var probes = []string{steerMark, ";" + steerMark + ";", "';" + steerMark + ";'", `";` + steerMark + `;"`, "$(" + steerMark + ")", "\n" + steerMark + "\n"}

// Steered says how a text that somebody fills into an argument list could choose what
// runs: as a program's name, or as code of a shell or an interpreter. It is "" where it is
// only a word that a program is given. fill gives the list with a text filled in.
//
// What a program then makes of its words is another question, which this does not answer.
func Steered(fill func(text string) []string) string {
	for _, probe := range probes {
		r := readProgram(&Program{Argv: fill(probe)})
		if r.problem != "" {
			return r.problem
		}
		for i := range r.commands {
			if why := r.commands[i].steered(); why != "" {
				return why
			}
		}
	}
	return ""
}

func (c *command) steered() string {
	if c.opaque != "" && slices.ContainsFunc(c.argv, marked) {
		return c.opaque
	}
	if len(c.argv) > 0 && marked(c.argv[0]) {
		return "it could name the program"
	}
	for _, name := range c.names {
		if !glob.Any(programs().classes["interpreter"], name) && !glob.Any(programs().classes["shell"], name) {
			continue
		}
		if inline(c.argv[1:]) {
			return name + " takes code in its words; put the code into a script on the machine, and name that"
		}
		// What comes before the script, and the script, is for the interpreter.
		for _, w := range c.argv[1:] {
			if marked(w) {
				return "it could be code, or an option, of " + name
			}
			if !isFlag(w.String()) {
				break
			}
		}
	}
	return ""
}

func marked(w word) bool { return strings.Contains(w.String(), steerMark) }
