package content

import (
	"errors"
	"fmt"
	"os"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	// maxProgram bounds a program that is run by its file, in bytes.
	maxProgram = 1 << 30
	// maxCopy bounds a file that is copied into memory.
	maxCopy = 16 << 20
)

var (
	// ErrUnsupported means a system on which content can't be bound.
	ErrUnsupported = errors.New("content: what a program's file holds can be bound to an approval on Linux only")
	// ErrChanged means a file that is another one than what was approved.
	ErrChanged = errors.New("content: not what was approved; ask again")
	// ErrUnreadable means a file that can't be opened, read whole, or held still.
	ErrUnreadable = errors.New("content: a file can't be read whole by the user who runs the command")
)

// A Files is the open files of one command. The zero value is that of a command that
// binds none.
type Files struct {
	Program *os.File   // nil: not bound
	Others  []*os.File // as process.Spec.Files
	Argv    []string   // with the words of Others as the program finds them

	seen  state // of Program's own file, when it was compared
	lease bool
}

// Look finds and reads the files that the words of argv name which are asked for, in
// order; 0 is the program. It opens them as Open does. dir is where the command runs.
func Look(argv []string, dir string, words []uint64, u process.User) ([]token.Bound, error) {
	if len(words) > token.MaxBound {
		return nil, fmt.Errorf("content: at most %d files can be bound", token.MaxBound)
	}
	out := make([]token.Bound, 0, len(words))
	for _, w := range words {
		path, err := locate(argv, dir, w, u)
		if err != nil {
			return nil, err
		}
		f, err := take(path, w, u)
		if err != nil {
			return nil, err
		}
		f.file.Close()
		out = append(out, token.Bound{Word: w, Path: path, Hash: f.hash})
	}
	return out, nil
}

// Open opens the files that a command binds and compares them. The caller closes what
// it gets. Errors: ErrChanged, ErrUnreadable, ErrUnsupported, process.ErrNoProgram,
// process.ErrNoDir.
func Open(argv []string, dir string, bound []token.Bound, u process.User) (*Files, error) {
	all := &Files{Argv: append([]string{}, argv...)}
	for _, b := range bound {
		if err := all.open(b, argv, dir, u); err != nil {
			all.Close()
			return nil, err
		}
	}
	if all.Program == nil && len(all.Others) > 0 {
		all.Close()
		return nil, fmt.Errorf("%w: a command that binds files binds its program", ErrChanged)
	}
	return all, nil
}

func (all *Files) open(b token.Bound, argv []string, dir string, u process.User) error {
	path, err := locate(argv, dir, b.Word, u)
	if err != nil {
		return err
	}
	if path != b.Path {
		return fmt.Errorf("%w: word %d names another file now", ErrChanged, b.Word)
	}
	f, err := take(path, b.Word, u)
	if err != nil {
		return err
	}
	if f.hash != b.Hash {
		f.file.Close()
		return fmt.Errorf("%w: the file of word %d has changed", ErrChanged, b.Word)
	}
	if b.Word == 0 {
		all.Program, all.seen, all.lease = f.file, f.seen, f.lease
		return nil
	}
	all.Argv[b.Word] = process.FileArg(len(all.Others))
	all.Others = append(all.Others, f.file)
	return nil
}

// Apply makes a program be started with the files.
func (all *Files) Apply(s *process.Spec) {
	if all.Program != nil {
		s.Argv, s.Program, s.Files = all.Argv, all.Program, all.Others
	}
}

// Started is called when the program runs, and says whether it is what was compared.
func (all *Files) Started() error {
	if all.Program == nil {
		return nil
	}
	return all.still()
}

// Close closes the files. The program has its own.
func (all *Files) Close() {
	if all.Program != nil {
		all.Program.Close()
	}
	for _, f := range all.Others {
		f.Close()
	}
}
