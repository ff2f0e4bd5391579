package command

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// addLine reads a shell command line and adds every simple command in it:
// those of pipelines, lists, substitutions, here-documents and functions. It
// returns why the line can't be read, or "".
func (r *reading) addLine(line string, from origin, depth int) string {
	if r.problem != "" {
		return ""
	}
	if len(line) > maxLineBytes || openings(line) > maxOpenings {
		r.problem = "a command line in it is too long or too deeply nested"
		return ""
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "")
	if err != nil {
		return "a command line in it is not one that can be parsed"
	}
	l := lineReader{r: r, from: from, depth: depth}
	syntax.Walk(file, l.visit)
	return l.opaque
}

// maxOpenings bounds what can nest in a line; the parser is recursive.
const maxOpenings = 400

// openings counts what may open a nested construct.
func openings(line string) int {
	n := strings.Count(line, "(") + strings.Count(line, "{") + strings.Count(line, "[") + strings.Count(line, "`")
	for field := range strings.FieldsSeq(line) {
		switch field {
		case "if", "while", "until", "for", "case", "select", "function", "then", "do", "else", "!", "time", "coproc":
			n++
		}
	}
	return n
}

// An origin is where a command comes from: what it inherits from the one that
// starts it.
type origin struct {
	via       []string
	elsewhere bool
	outside   bool
}

// A lineReader visits the tree of one line.
type lineReader struct {
	r      *reading
	from   origin
	depth  int
	opaque string
}

func (l *lineReader) visit(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.Stmt:
		l.statement(n)
	case *syntax.CallExpr:
		l.assign(n.Assigns)
	case *syntax.TimeClause:
		// In bash `time` is a word of the language; elsewhere it is a program
		// with options of its own.
		if n.Stmt != nil {
			if call, ok := n.Stmt.Cmd.(*syntax.CallExpr); ok {
				l.add(append([]word{{Glob: glob.Literal("time")}}, readWords(call.Args)...))
			}
		}
	case *syntax.DeclClause:
		l.r.assigned = true
		l.assign(n.Args)
	case *syntax.ForClause, *syntax.LetClause, *syntax.FuncDecl:
		l.r.assigned = true
	case *syntax.ParamExp:
		if n.Exp != nil && (n.Exp.Op == syntax.OtherParamOps || n.Exp.Op == syntax.AssignUnset || n.Exp.Op == syntax.AssignUnsetOrNull) {
			if n.Exp.Op == syntax.OtherParamOps {
				l.opaque = "it expands the value of a variable once more (${x@…})"
			}
			l.r.assigned = true
		}
	}
	return l.r.problem == ""
}

// assign notes the variables that a line sets.
func (l *lineReader) assign(assigns []*syntax.Assign) {
	for _, a := range assigns {
		l.r.assigned = true
		if a.Name == nil {
			continue
		}
		if why := risk(a.Name.Value, l.r.watched && !l.from.outside); why != "" {
			l.opaque = why
		}
	}
}

// statement adds the simple command of a statement and what it redirects.
func (l *lineReader) statement(s *syntax.Stmt) {
	var argv []word
	if call, ok := s.Cmd.(*syntax.CallExpr); ok {
		argv = readWords(call.Args)
	}
	var writes []word
	for _, redirect := range s.Redirs {
		if file, ok := written(redirect); ok {
			writes = append(writes, file)
		}
	}
	if len(argv) == 0 && len(writes) == 0 {
		return
	}
	at := len(l.r.commands)
	l.add(argv, writes...)
	if name, _ := nameOf(argv); name == "cd" || name == "pushd" || name == "chdir" {
		l.r.changeDir(argv[1:])
	}
	readsInput := slices.ContainsFunc(l.r.commands[min(at, len(l.r.commands)):], func(c command) bool { return c.stdin })
	for _, redirect := range s.Redirs {
		if readsInput {
			l.fed(redirect)
		}
	}
}

func (l *lineReader) add(argv []word, writes ...word) {
	l.r.add(command{argv: argv, writes: writes, via: l.from.via, elsewhere: l.from.elsewhere, outside: l.from.outside}, l.depth)
}

// harmlessSinks are files to which writing changes nothing.
var harmlessSinks = map[string]bool{"/dev/null": true, "/dev/stdout": true, "/dev/stderr": true, "/dev/tty": true}

// written returns the file that a redirection writes, if it writes one.
func written(redirect *syntax.Redirect) (word, bool) {
	switch redirect.Op {
	case syntax.RdrOut, syntax.AppOut, syntax.RdrInOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll, syntax.DplOut:
		file := readWord(redirect.Word)
		text := file.String()
		if redirect.Op == syntax.DplOut && (text == "-" || strings.Trim(text, "0123456789-") == "") || harmlessSinks[text] {
			return word{}, false
		}
		return file, true
	case syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc, syntax.RdrIn, syntax.DplIn:
		return word{}, false
	}
	return word{many: true}, true // an operator this code does not know may write
}

// fed reads what a here-document gives to a shell.
func (l *lineReader) fed(redirect *syntax.Redirect) {
	body := redirect.Hdoc
	if redirect.Op == syntax.WordHdoc {
		body = redirect.Word
	}
	if body == nil || redirect.Op != syntax.WordHdoc && redirect.Op != syntax.Hdoc && redirect.Op != syntax.DashHdoc {
		return
	}
	if w := readWord(body); !w.many && w.IsLiteral() {
		from := l.from
		from.elsewhere = true
		l.r.addLine(w.String(), from, l.depth+1)
	}
}

func readWords(args []*syntax.Word) []word {
	words := make([]word, len(args))
	for i, arg := range args {
		words[i] = readWord(arg)
	}
	return words
}

// readWord reads a word as far as it can be known before the shell runs: what
// expands becomes a star, or an unknown number of words.
func readWord(w *syntax.Word) word {
	b := wordBuilder{pieces: []string{""}}
	for i, part := range w.Parts {
		b.part(part, i == 0)
	}
	if b.many {
		return word{many: true}
	}
	return word{Glob: glob.Join(b.pieces), files: b.files && !b.other}
}

type wordBuilder struct {
	pieces []string
	many   bool
	brace  bool // an open brace was seen outside quotes
	files  bool // a star stands for names of files
	other  bool // a star stands for something else
}

func (b *wordBuilder) text(s string) { b.pieces[len(b.pieces)-1] += s }
func (b *wordBuilder) star()         { b.pieces = append(b.pieces, ""); b.other = true }
func (b *wordBuilder) anyFile()      { b.pieces = append(b.pieces, ""); b.files = true }

func (b *wordBuilder) part(part syntax.WordPart, first bool) {
	switch p := part.(type) {
	case *syntax.Lit:
		b.bare(p.Value, first)
	case *syntax.SglQuoted:
		b.quoted(p)
	case *syntax.DblQuoted:
		for _, inner := range p.Parts {
			switch inner := inner.(type) {
			case *syntax.Lit:
				b.quoted(&syntax.DblQuoted{Parts: []syntax.WordPart{inner}})
			case *syntax.ParamExp:
				// "$@" and "${a[@]}" are any number of words.
				if inner.Index != nil || inner.Excl || inner.Param != nil && inner.Param.Value == "@" {
					b.many = true
				}
				b.star()
			default:
				b.star()
			}
		}
	case *syntax.ProcSubst:
		b.star()
	default:
		b.many = true
	}
}

// quoted adds text in quotes, decoded by the shell library.
func (b *wordBuilder) quoted(part syntax.WordPart) {
	s, err := expand.Literal(&expand.Config{}, &syntax.Word{Parts: []syntax.WordPart{part}})
	if err != nil {
		b.star()
		return
	}
	b.text(s)
}

// bare adds text outside quotes, where backslashes quote, and globs, braces
// and a leading ~ expand.
func (b *wordBuilder) bare(s string, first bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] != '\n' {
				b.text(s[i : i+1])
			}
		case c == '*' || c == '?' || c == '[':
			b.anyFile()
			if c == '[' { // a class stands for one letter, but where it ends is not sure
				return
			}
		case c == '~' && first && i == 0 && strings.Trim(strings.TrimLeft(s, "~"), "/") == "":
			b.star() // a home directory may be any
			return
		case c == '{':
			b.brace = true
			b.text("{")
		case b.brace && (c == ',' || c == '.' && i+1 < len(s) && s[i+1] == '.'):
			b.many = true
		default:
			b.text(s[i : i+1])
		}
	}
}

// Split reads a command as a person types it: one plain
// command is its argument list, everything else is a line for sh.
func Split(line string) []string {
	shell := []string{"sh", "-c", line}
	file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
	if err != nil || len(file.Stmts) != 1 {
		return shell
	}
	s := file.Stmts[0]
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) > 0 || len(s.Redirs) > 0 || s.Negated || s.Background || s.Coprocess {
		return shell
	}
	argv := make([]string, len(call.Args))
	for i, arg := range call.Args {
		w := readWord(arg)
		if w.many || !w.IsLiteral() {
			return shell
		}
		argv[i] = w.String()
	}
	return argv
}
