package command

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Limits of a command. What is beyond them is taken for the strictest tier:
// padding must not help.
const (
	maxCommandBytes = 128 << 10 // of argv
	maxLineBytes    = 16 << 10  // of one shell command line
	maxCommands     = 512       // program starts in one command
	maxWords        = 16384     // words of all of them
	maxNesting      = 16        // wrappers and lines inside each other
	maxScripts      = 8         // interpreters that are scripts themselves
	maxDirs         = 16        // directories in which its commands may run
)

// A reading is every program start that can be seen in one command.
type reading struct {
	commands []command
	problem  string // why the whole can't be judged; "" when it can
	words    int
	assigned bool     // a line sets variables: names may mean other programs
	dirs     []string // where commands may run; unknownDir among them where that can't be read
	watched  bool     // see Program
}

// readProgram reads an argument list as execve takes it: no shell looks at it,
// unless a program in it is one.
func readProgram(p *Program) reading {
	r := reading{watched: p.Watched}
	if path.IsAbs(p.Cwd) {
		r.dirs = []string{path.Clean(p.Cwd)}
	}
	for links := 0; p != nil && r.problem == ""; links++ {
		if links > maxScripts {
			r.problem = fmt.Sprintf("its scripts name each other as interpreters more than %d deep", maxScripts)
			break
		}
		r.start(p)
		p = p.Loaded
	}
	for i := range r.commands {
		r.commands[i].dirs = r.dirs
		r.commands[i].elsewhere = r.commands[i].elsewhere || r.assigned
	}
	return r
}

// start adds the program itself.
func (r *reading) start(p *Program) {
	size := 0
	words := make([]word, len(p.Argv))
	for i, arg := range p.Argv {
		size += len(arg) + 1
		words[i] = word{Glob: glob.Literal(arg)}
	}
	switch {
	case len(p.Argv) == 0:
		r.problem = "it holds no command"
		return
	case size > maxCommandBytes:
		r.problem = fmt.Sprintf("it is longer than %d bytes", maxCommandBytes)
		return
	}
	c := command{argv: words, names: p.views(), file: p.File}
	for _, setting := range p.Environ {
		name, _, _ := strings.Cut(setting, "=")
		if why := risk(name, p.Watched); why != "" {
			c.risk, c.elsewhere = why, true
		}
	}
	r.add(c, 0)
}

// changeDir notes that a command after this may run in another directory.
func (r *reading) changeDir(words []word) {
	for _, w := range words {
		to := w.String()
		switch {
		case w.many, !w.IsLiteral(), to == "-", len(r.dirs) >= maxDirs, len(r.dirs) == 0 && strings.HasPrefix(path.Clean(to), ".."):
			r.dirs = append(r.dirs, unknownDir)
		case isFlag(to):
			continue
		case path.IsAbs(to):
			r.dirs = append(r.dirs, path.Clean(to))
		default:
			for _, dir := range slices.Clone(r.dirs) {
				if dir != unknownDir {
					r.dirs = append(r.dirs, path.Join(dir, to))
				}
			}
		}
		return
	}
}

// add takes one program start and what it starts in turn.
func (r *reading) add(c command, depth int) {
	r.words += len(c.argv) + len(c.writes)
	switch {
	case r.problem != "":
		return
	case depth > maxNesting:
		r.problem = fmt.Sprintf("commands are nested more than %d deep", maxNesting)
		return
	case len(r.commands) >= maxCommands || r.words > maxWords:
		r.problem = fmt.Sprintf("it starts more than %d programs or has more than %d words", maxCommands, maxWords)
		return
	}
	if name, ok := nameOf(c.argv); ok && c.names == nil {
		c.names = []string{name}
	}
	at := len(r.commands)
	r.commands = append(r.commands, c)
	through, stdin, opaque, outside := len(c.names) > 0, false, "", c.outside
	if len(c.names) == 0 && len(c.argv) > 0 {
		opaque = "the name of a program in it can't be read"
	}
	for _, name := range c.names {
		outside = outside || programs().escapes(name)
		label, w := programs().wrapper(name)
		if w == nil {
			through = false
			continue
		}
		u := unwrapper{r: r, w: w, c: &c, name: label, depth: depth + 1,
			elsewhere: c.elsewhere || w.elsewhere, outside: outside}
		u.run()
		through, stdin = through && u.through, stdin || u.stdin
		if opaque == "" {
			opaque = u.opaque
		}
	}
	if r.watched && !outside {
		opaque = ""
	}
	if c.risk != "" {
		opaque = c.risk
	}
	r.commands[at].opaque, r.commands[at].through, r.commands[at].stdin, r.commands[at].outside = opaque, through, stdin, outside
}

// An unwrapper reads the words of one wrapper.
type unwrapper struct {
	r         *reading
	w         *wrapper
	c         *command
	name      string // its label in the table
	depth     int
	elsewhere bool
	outside   bool

	unsure      bool   // an option is not known, so the command may begin anywhere
	shell       bool   // an option asks for a shell
	placeholder string // text that stands for words read later
	lines       int    // command lines found in options

	opaque  string
	through bool
	stdin   bool
}

func (u *unwrapper) run() {
	words := u.c.argv[1:]
	if u.w.run == "find" {
		u.find(words)
		return
	}
	if len(u.w.sub) > 0 {
		at := slices.IndexFunc(words, func(w word) bool { return !isFlag(w.String()) && slices.Contains(u.w.sub, w.String()) })
		if at < 0 {
			return // docker ps starts nothing
		}
		words = words[at+1:]
	}
	if u.w.run == "shell" {
		u.shellWords(words)
		return
	}
	u.placeholder = u.w.placeholder
	if at := slices.IndexFunc(words, func(w word) bool { return slices.Contains(u.w.until, w.String()) }); at >= 0 {
		words = words[:at]
	}
	rest := u.options(words)
	if u.unsure || u.w.unsure {
		u.elsewhere = true
		u.guess(u.c.argv[1:])
	}
	switch {
	case u.w.run == "never":
		if u.lines == 0 {
			u.opaque = "what " + u.name + " will run can't be read"
		}
		u.through = u.lines > 0
	case len(rest) == 0:
		u.through = u.lines > 0
		if u.lines == 0 && (u.shell || u.w.bareShell) {
			u.opaque, u.stdin = u.name+" starts a shell", true
		}
	case u.w.run == "line":
		u.line(rest)
	case u.w.run == "first":
		u.line(rest[:1])
	default:
		u.start(rest, u.elsewhere)
	}
}

// start hands on the words of an inner command.
func (u *unwrapper) start(words []word, elsewhere bool) {
	inner := slices.Clone(words)
	if u.placeholder != "" {
		for i, w := range inner {
			if w.IsLiteral() && strings.Contains(w.String(), u.placeholder) {
				inner[i] = word{Glob: glob.Join(strings.Split(w.String(), u.placeholder))}
			}
		}
	}
	if u.w.appends {
		inner = append(inner, word{many: true})
	}
	u.through = true
	u.r.add(command{argv: inner, via: append(slices.Clip(u.c.via), u.name), elsewhere: elsewhere, outside: u.outside, guessed: u.c.guessed}, u.depth)
}

// readLater stands in a line for words that nobody can know yet.
const readLater = " ${_} "

// line hands on words that a shell will join and read again.
func (u *unwrapper) line(words []word) {
	u.lines++
	u.through = true
	texts := make([]string, len(words))
	for i, w := range words {
		if w.many || !w.IsLiteral() {
			u.opaque = "a command line for " + u.name + " can't be read"
			return
		}
		if texts[i] = w.String(); u.placeholder != "" && strings.Contains(texts[i], u.placeholder) {
			u.opaque = "a command line for " + u.name + " can't be read"
			texts[i] = strings.ReplaceAll(texts[i], u.placeholder, readLater)
		}
	}
	if u.w.appends {
		u.opaque = "a command line for " + u.name + " can't be read"
		texts = append(texts, readLater)
	}
	if problem := u.r.addLine(strings.Join(texts, " "), origin{append(slices.Clip(u.c.via), u.name), u.elsewhere, u.outside}, u.depth); problem != "" {
		u.opaque = problem
	}
}

// options reads the options, assignments and operands that stand before the
// command, and returns the rest.
func (u *unwrapper) options(words []word) []word {
	skip := u.w.skip
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w.many || !w.IsLiteral() {
			if skip > 0 && !w.many {
				skip--
				continue
			}
			u.unsure = true // it may be an option or the command
			return words[i:]
		}
		text := w.String()
		name, _, isAssign := strings.Cut(text, "=")
		switch {
		case text == "--":
			return u.operands(words[i+1:], skip)
		case isFlag(text):
			i = u.optionWord(words, i)
		case u.w.assigns && isAssign && name != "":
			u.assign(name)
		case u.w.run == "never":
			// options may follow operands: su root -c LINE
		case skip > 0:
			skip--
		default:
			return words[i:]
		}
	}
	return nil
}

// assign notes a variable that is set for the command.
func (u *unwrapper) assign(name string) {
	u.elsewhere = true
	if why := risk(name, u.r.watched && !u.outside); why != "" {
		u.opaque = why
	}
}

// operands drops the operands that stand before the command.
func (u *unwrapper) operands(words []word, skip int) []word {
	if u.w.assigns {
		for len(words) > 0 {
			name, _, isAssign := strings.Cut(words[0].String(), "=")
			if !isAssign {
				break
			}
			u.assign(name)
			words = words[1:]
		}
	}
	return words[min(skip, len(words)):]
}

// optionWord reads the option at i and returns the index of its last word.
func (u *unwrapper) optionWord(words []word, i int) int {
	text := words[i].String()
	if name, value, hasValue := strings.Cut(text, "="); strings.HasPrefix(text, "--") {
		if u.w.option(name) == unknownOption {
			u.unsure = true
			return i
		}
		return u.take(words, i, name, value, hasValue)
	}
	for j := 1; j < len(text); j++ {
		name := text[j : j+1]
		switch u.w.option(name) {
		case flagOption:
		case shellOption:
			u.shell = true
		case unknownOption:
			u.unsure = true
			return i
		default:
			return u.take(words, i, name, text[j+1:], j+1 < len(text))
		}
	}
	return i
}

// take reads the value of an option, from the same word or the next.
func (u *unwrapper) take(words []word, i int, name, value string, hasValue bool) int {
	kind := u.w.option(name)
	switch {
	case kind == flagOption:
		return i
	case kind == shellOption:
		u.shell = true
		return i
	}
	valueWord := word{Glob: glob.Literal(value)}
	if !hasValue {
		if i++; i >= len(words) {
			return i
		}
		valueWord = words[i]
	}
	if valueWord.many {
		u.unsure = true
		u.opaque = "the options of " + u.name + " can't be read"
	}
	switch kind {
	case lineOption:
		u.line([]word{valueWord})
	case splitOption:
		u.line(append([]word{valueWord}, quoteWords(words[min(i+1, len(words)):])...))
		return len(words)
	}
	if name == u.w.replace && u.w.replace != "" {
		u.placeholder = valueWord.String()
	}
	return i
}

// quoteWords quotes words so that a shell reads each as it is.
func quoteWords(words []word) []word {
	quoted := slices.Clone(words)
	for i, w := range quoted {
		if !w.many && w.IsLiteral() {
			quoted[i] = word{Glob: glob.Literal(sanitize.Argv([]string{w.String()}).String())}
		}
	}
	return quoted
}

// guess takes every word for the begin of the command. Only patterns that
// raise can come of it, because such a command is elsewhere and through. Inside
// a guess nothing is guessed again: its words are among those tried already.
func (u *unwrapper) guess(words []word) {
	if u.c.guessed {
		return
	}
	via := append(slices.Clip(u.c.via), u.name, "?")
	for i := range words {
		if words[i].many || !words[i].IsLiteral() {
			continue
		}
		at := len(u.r.commands)
		u.r.add(command{argv: words[i:], via: via, elsewhere: true, outside: u.outside, guessed: true}, u.depth)
		if end := slices.IndexFunc(words[i:], func(w word) bool { return w.String() == "--" }); end > 0 {
			// The mark may be the wrapper's: start-stop-daemon --exec rm -- -r
			u.r.add(command{argv: slices.Concat(words[i:i+end], words[i+end+1:]), via: via, elsewhere: true, outside: u.outside, guessed: true}, u.depth)
		}
		for j := at; j < len(u.r.commands); j++ {
			u.r.commands[j].through = true
		}
	}
}

// shellWords reads the words of a shell: -c takes a command line, else the
// first operand is a script, else it reads its input.
func (u *unwrapper) shellWords(words []word) {
	line, input := false, false
	for len(words) > 0 {
		w := words[0]
		if w.many || !w.IsLiteral() {
			u.opaque = "the options of " + u.name + " can't be read"
			return
		}
		text := w.String()
		if text == "--" || text == "-" {
			words = words[1:]
			break
		}
		if !isFlag(text) && !(len(text) > 1 && text[0] == '+') {
			break
		}
		words = words[1:]
		if name, value, hasValue := strings.Cut(text, "="); strings.HasPrefix(text, "--") {
			switch isLine := slices.Contains(u.w.line, name); {
			case isLine && hasValue:
				u.line([]word{{Glob: glob.Literal(value)}})
			case hasValue && name == "--command":
				u.line([]word{{Glob: glob.Literal(value)}})
			case (isLine || slices.Contains(u.w.values, name)) && len(words) > 0:
				if isLine {
					u.line(words[:1])
				}
				words = words[1:]
			default:
				line = line || name == "--command"
			}
			continue
		}
		if len(words) > 0 && slices.Contains(u.w.line, text[1:]) {
			u.line(words[:1])
			words = words[1:]
			continue
		}
		line = line || text[0] == '-' && strings.Contains(text, "c")
		input = input || text[0] == '-' && strings.Contains(text, "s")
		for _, letter := range text[1:] {
			if slices.Contains(u.w.values, string(letter)) && len(words) > 0 {
				words = words[1:]
			}
		}
	}
	switch {
	case line && len(words) > 0:
		u.line(words[:1])
		u.guess(words[1:]) // the line may run its own parameters
	case !input && !line && len(words) > 0:
		u.start(words, true) // a script: its name is no program of the system
	case u.lines == 0:
		u.opaque, u.stdin = u.name+" reads its commands from its input", true
	}
}

// execWords are the predicates of find and fd that start a command.
var execWords = []string{"-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"}

func (u *unwrapper) find(words []word) {
	u.placeholder = "{}"
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w.many || !w.IsLiteral():
			if !w.many && !w.Meets(glob.New("-*exec*")) {
				continue
			}
			u.guess(words[i:])
		case slices.Contains(execWords, w.String()):
			end := i + 1
			for end < len(words) && words[end].String() != ";" && words[end].String() != "+" {
				end++
			}
			if end > i+1 {
				u.start(words[i+1:end], u.elsewhere)
			}
			i = end
		}
	}
	u.through = false // find itself is a program with a tier of its own
}
