package filecopy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// A LinkError is a symbolic link where none is followed.
type LinkError struct {
	Path string
	To   string // where it leads, as it says; may be empty
}

func (e *LinkError) Error() string {
	if e.To == "" {
		return fmt.Sprintf("filecopy: %q is a symbolic link, and none is followed", e.Path)
	}
	return fmt.Sprintf("filecopy: %q is a symbolic link to %q, and none is followed; name the real path", e.Path, e.To)
}

var errChanged = errors.New("filecopy: a file or directory was replaced while it was opened; try again")

// Enter opens the directory below dir, one name at a time, without following a link.
// The caller closes what it gets; dir stays open.
func Enter(dir *os.Root, names ...string) (*os.Root, error) {
	at, said := dir, ""
	for _, name := range names {
		said = path.Join(said, name)
		next, err := enter(at, name, said)
		if at != dir {
			at.Close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	if at == dir {
		return dir.OpenRoot(".")
	}
	return at, nil
}

func enter(at *os.Root, name, said string) (*os.Root, error) {
	before, err := at.Lstat(name)
	switch {
	case err != nil:
		return nil, plain(err, said)
	case before.Mode()&fs.ModeSymlink != 0:
		return nil, linkError(at, name, said)
	case !before.IsDir():
		return nil, fmt.Errorf("filecopy: %q is no directory", said)
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, plain(err, said)
	}
	after, err := next.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = errChanged
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

func linkError(at *os.Root, name, said string) error {
	to, _ := at.Readlink(name)
	return &LinkError{said, to}
}

// plain gives an error of the system about a name, with the name as it was said.
func plain(err error, said string) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("filecopy: %q: %w", said, err)
}

// Send writes what is called name in dir: a file or, with tree, a directory and all
// below it. note is told of what is left out: links, devices and the like.
func Send(w io.Writer, dir *os.Root, name string, tree bool, note func(string)) error {
	out, err := NewWriter(w)
	if err != nil {
		return err
	}
	s := &sender{out, tree, note}
	if err := s.send(dir, name, ""); err != nil {
		return err
	}
	return out.Close()
}

type sender struct {
	out  *Writer
	tree bool
	note func(string)
}

// send sends one thing; said is its name in the stream.
func (s *sender) send(dir *os.Root, name, said string) error {
	shown := said
	if shown == "" {
		shown = name
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return plain(err, shown)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return s.file(dir, name, said, shown, info)
	case mode.IsDir() && !s.tree:
		return ErrTree
	case mode.IsDir():
		return s.dir(dir, name, said, shown, info)
	case said == "" && mode&fs.ModeSymlink != 0:
		return linkError(dir, name, shown)
	case said == "":
		return fmt.Errorf("filecopy: %q is neither a file nor a directory", shown)
	case mode&fs.ModeSymlink != 0:
		s.note(fmt.Sprintf("%q is a symbolic link and is left out", shown))
	default:
		s.note(fmt.Sprintf("%q is neither a file nor a directory and is left out", shown))
	}
	return nil
}

func (s *sender) file(dir *os.Root, name, said, shown string, before fs.FileInfo) error {
	f, err := dir.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return plain(err, shown)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return plain(err, shown)
	}
	if !os.SameFile(before, info) || !info.Mode().IsRegular() {
		return errChanged
	}
	if err := s.out.File(said, info.Mode().Perm(), info.Size(), f); err != nil {
		return fmt.Errorf("%q: %w", shown, err)
	}
	return nil
}

func (s *sender) dir(dir *os.Root, name, said, shown string, info fs.FileInfo) error {
	inside, err := enter(dir, name, shown)
	if err != nil {
		return err
	}
	defer inside.Close()
	if err := s.out.Dir(said, info.Mode().Perm()); err != nil {
		return err
	}
	names, err := list(inside)
	if err != nil {
		return plain(err, shown)
	}
	for _, n := range names {
		if err := s.send(inside, n, path.Join(said, n)); err != nil {
			return err
		}
	}
	return nil
}

// list gives the names in a directory, bytewise ascending.
func list(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(MaxEntries + 1)
	if err == io.EOF {
		err = nil
	}
	if err == nil && len(names) > MaxEntries {
		err = ErrTooMuch
	}
	slices.Sort(names)
	return names, err
}

// Receive puts what r carries into dir, under a name: a file or, with tree, a directory
// and all below it. What is there already is replaced, file by file; a directory is
// added to.
func Receive(r *Reader, dir *os.Root, name string, tree bool) error {
	w := &receiver{r: r}
	defer w.leave(0, false)
	for {
		e, err := r.Next()
		switch {
		case err == io.EOF:
			return w.leave(0, true)
		case err != nil:
			return err
		case e.Dir && !tree:
			return ErrTree
		}
		parent, last := dir, name
		if e.Name != "" {
			parts := strings.Split(e.Name, "/")
			if err := w.leave(len(parts), true); err != nil {
				return err
			}
			parent, last = w.open[len(parts)-1].root, parts[len(parts)-1]
			if !fs.ValidPath(last) || !isLocal(last) {
				return fmt.Errorf("filecopy: %q can't be a name here", e.Name)
			}
		}
		if e.Dir {
			err = w.enter(parent, last, e)
		} else {
			err = w.file(parent, last, e)
		}
		if err != nil {
			return err
		}
	}
}

// A receiver has the directories open in which it is, outermost first.
type receiver struct {
	r    *Reader
	open []opened
}

type opened struct {
	root *os.Root
	mode fs.FileMode
	made bool // by us: it gets its mode when it is left
}

// leave closes all but the n outermost directories. The first error counts.
func (w *receiver) leave(n int, good bool) (err error) {
	for len(w.open) > n {
		d := w.open[len(w.open)-1]
		w.open = w.open[:len(w.open)-1]
		if d.made && good {
			if cerr := d.root.Chmod(".", d.mode); cerr != nil && err == nil {
				err = cerr
			}
		}
		d.root.Close()
	}
	return err
}

func (w *receiver) enter(parent *os.Root, name string, e Entry) error {
	err := parent.Mkdir(name, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return plain(err, shownName(name, e))
	}
	inside, err := enter(parent, name, shownName(name, e))
	if err != nil {
		return err
	}
	w.open = append(w.open, opened{inside, e.Mode, made})
	return nil
}

func shownName(name string, e Entry) string {
	if e.Name != "" {
		return e.Name
	}
	return name
}

// file writes a file under a name of its own, and puts it into place when it is whole.
func (w *receiver) file(parent *os.Root, name string, e Entry) (err error) {
	shown := shownName(name, e)
	if info, err := parent.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("filecopy: %q is a directory; add / to copy into it", shown)
	}
	temp := ".tucdesk-" + rand.Text()
	f, err := parent.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return plain(err, shown)
	}
	defer func() {
		f.Close()
		if err != nil {
			parent.Remove(temp)
		}
	}()
	if _, err := io.Copy(f, struct{ io.Reader }{w.r}); err != nil {
		return plain(err, shown)
	}
	if err := errors.Join(f.Chmod(e.Mode), f.Sync(), f.Close()); err != nil {
		return plain(err, shown)
	}
	if err := parent.Rename(temp, name); err != nil {
		return plain(err, shown)
	}
	return nil
}
