package command

import (
	"path"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// A Program is a program that is about to start: an argument list as execve
// takes it, and whatever more is known. Only Argv is needed.
type Program struct {
	Argv []string // Argv[0] is what it is told to be called
	Cwd  string   // absolute; "": not known, and relative paths stay as they are

	// What follows is known to whoever sees the execve itself.

	Requested string // the path that execve was given
	File      *File  // what it names; nil: not known
	// Loaded is what the kernel makes of a script: the interpreter at the end
	// of its chain of #! lines, and the argument list that this one gets. nil
	// for a program that is none.
	Loaded *Program
	// Environ holds NAME=value for each variable that differs from those the
	// session began with.
	Environ []string
	// Watched says that whatever this program starts will be judged too, when
	// it starts, with everything known. So what can't be read yet is no reason
	// to hold it, unless it leaves the session's processes (class @escape).
	Watched bool
}

// A File is what is known about the file of a program.
type File struct {
	Path  string   // absolute, without links; "" where it has none, as after memfd_create
	Names []string // base names of files in system directories that are this same file (device and inode)
	Owner uint32   // user id
	Links uint64   // hard links; 0: it has no name any more
	// Regular: an ordinary file. Writable: somebody other than root can write
	// it, or a directory on its path.
	Regular, Writable bool
	// New: it was changed after the session began, or the machine's packages
	// do not know it.
	New bool
}

// trusted says whether nobody but root can have put the file there.
func (f *File) trusted() bool {
	return f.Regular && f.Links > 0 && f.Owner == 0 && !f.Writable && f.Path != ""
}

// A word is one word of a command, as far as it can be read.
type word struct {
	glob.Glob
	many  bool // not one word but any number of any words, as unquoted $X
	files bool // what its stars stand for is in names of files, as in /etc/*.conf
}

// A command is one program start, wherever it was seen: an execve, or a simple
// command in a line for a shell. Built-ins of a shell count as programs.
type command struct {
	argv   []word   // argv[0] is the program
	via    []string // the wrappers that start it, outermost first
	writes []word   // files that its redirections write
	names  []string // base names of the program: every one under which it is known
	dirs   []string // directories in which it may start; relative paths begin there
	file   *File    // of the program; nil: not known
	opaque string   // why it can't be read; "" when it can
	risk   string   // why its environment makes it another program; "" when it does not
	// through: it only starts another command, which is judged by itself, so
	// the default tier does not apply to it.
	through bool
	// elsewhere: it runs as another user, in another environment or on another
	// host, so that its name may mean another program. Patterns that lower do
	// not apply.
	elsewhere bool
	outside   bool // it leaves the session's processes, or is started by what does
	guessed   bool // a word of it was taken for its begin, which is not sure
	stdin     bool // a shell that reads its commands from its input
}

// systemDirs are where a path may point for a pattern that lowers: a program
// of one's own called ls is not ls.
var systemDirs = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// ofSystem says whether the program is one of the system: by its file, or, as
// long as no file is known, by its name.
func (c *command) ofSystem() bool {
	if c.file != nil {
		return c.file.trusted() && slices.Contains(systemDirs, path.Dir(c.file.Path))
	}
	if len(c.argv) == 0 {
		return false
	}
	name := c.argv[0].String()
	return !strings.Contains(name, "/") || path.Clean(name) == name && slices.Contains(systemDirs, path.Dir(name))
}

// is says whether the command is of a class that is about facts.
func (c *command) is(fact string) bool {
	switch fact {
	case factOpaque:
		return c.opaque != ""
	case factNew:
		return c.file != nil && c.file.New
	case factUntrusted:
		if c.file != nil {
			return !c.file.trusted()
		}
		return !c.ofSystem() && len(c.argv) > 0 && c.argv[0].IsLiteral() && strings.Contains(c.argv[0].String(), "/")
	}
	return false
}

// Classes that are about facts and not about names.
const (
	factUntrusted = "untrusted" // not a linked, regular file of root in directories that only root writes
	factNew       = "new"       // newer than the session, or in no package
	factOpaque    = "opaque"    // can't be read before it runs
)

var factNames = []string{factNew, factOpaque, factUntrusted}

// views lists the base names of a program: of the file, of other names of that
// file, of what was asked for and of what it is told to be called. A pattern
// that covers one of them covers the program.
func (p *Program) views() []string {
	var names []string
	add := func(s string) {
		if s == "" {
			return
		}
		if base := path.Base(s); !slices.Contains(names, base) {
			names = append(names, base)
		}
	}
	if len(p.Argv) > 0 {
		add(p.Argv[0])
		add(strings.TrimPrefix(p.Argv[0], "-")) // of a login shell
	}
	add(p.Requested)
	if p.File != nil {
		add(p.File.Path)
		for _, name := range p.File.Names {
			add(name)
		}
	}
	return names
}

// nameOf returns the base name of a program, if the name can be read.
func nameOf(argv []word) (string, bool) {
	if len(argv) == 0 || argv[0].many || !argv[0].IsLiteral() || argv[0].String() == "" {
		return "", false
	}
	return path.Base(argv[0].String()), true
}
