package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/envelope"
)

// state is what changes when a file does. ctime can't be set by anybody.
type state struct {
	dev, ino uint64
	size     int64
	changed  unix.Timespec
}

// A taken is a file that was opened once and read whole.
type taken struct {
	file  *os.File // what was read, or a sealed copy of it
	hash  envelope.Hash
	seen  state
	lease bool
}

// locate says which file a word names: argv[0] as programs are looked up, others as
// paths.
func locate(argv []string, dir string, word uint64, u process.User) (string, error) {
	if word >= uint64(len(argv)) || argv[word] == "" {
		return "", fmt.Errorf("%w: there is no word %d", ErrUnreadable, word)
	}
	dir, err := u.Folder(dir)
	if err != nil {
		return "", process.ErrNoDir
	}
	path := argv[word]
	if word == 0 {
		if path, err = process.Find(path, dir); err != nil {
			return "", process.ErrNoProgram
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return filepath.Clean(path), nil
}

// take opens a file and reads it whole. A program of the machine stays as it is; what
// another program reads becomes a sealed copy.
func take(path string, word uint64, u process.User) (taken, error) {
	no := func(why string) (taken, error) {
		return taken{}, fmt.Errorf("%w: word %d: %s", ErrUnreadable, word, why)
	}
	f, err := u.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return no("it does not exist")
	case errors.Is(err, os.ErrPermission):
		return no("it may not be read")
	case err != nil:
		return no("it can't be opened")
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		f.Close()
		return no("it is not a regular file")
	}
	var head [2]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		f.Close()
		return no("it can't be read")
	}
	if word > 0 || string(head[:n]) == "#!" {
		defer f.Close()
		c, hash, err := copied(f, word == 0)
		if err != nil {
			return no(err.Error())
		}
		return taken{file: c, hash: hash}, nil
	}
	t := taken{file: f}
	t.lease = lease(f)
	if t.seen, err = stateOf(f); err == nil {
		h := sha256.New()
		if err = copyAll(h, whole(f), maxProgram); err == nil {
			t.hash = envelope.Hash(h.Sum(nil))
			err = t.still()
		}
	}
	if err != nil {
		f.Close()
		return no(err.Error())
	}
	return t, nil
}

// sum is Sum: the file is looked at before and after it was read.
func (h Held) sum(ctx context.Context, u process.User) (envelope.Hash, error) {
	no := func(err error, why string) (envelope.Hash, error) {
		return envelope.Hash{}, fmt.Errorf("%w: the program's file %s", err, why)
	}
	if !filepath.IsAbs(h.Path) {
		return no(ErrUnreadable, "has no name")
	}
	f, err := u.Open(h.Path)
	if err != nil {
		return no(ErrUnreadable, "can't be opened")
	}
	defer f.Close()
	same := func() bool {
		now, err := stateOf(f)
		return err == nil && now.dev == h.Dev && now.ino == h.Ino && now.size == h.Size && now.changed.Nano() == h.Changed
	}
	if !same() {
		return no(ErrChanged, "is another one, or was changed")
	}
	if h.Size > maxHeld {
		return no(ErrUnreadable, fmt.Sprintf("has more than %d MiB", maxHeld>>20))
	}
	s := sha256.New()
	if err := copyAll(s, untilOver{ctx, whole(f)}, maxHeld); err != nil {
		return no(ErrUnreadable, err.Error())
	}
	if !same() {
		return no(ErrChanged, "was changed while it was read")
	}
	return envelope.Hash(s.Sum(nil)), nil
}

// copyAll copies all that r has, and refuses what is too long.
func copyAll(w io.Writer, r io.Reader, most int64) error {
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = fmt.Errorf("it has more than %d MiB", most>>20)
	}
	return err
}

// whole reads a file from its begin, wherever it stands.
func whole(f *os.File) io.Reader { return io.NewSectionReader(f, 0, 1<<62) }

// copied gives a copy of a file in memory that nobody can change, and its hash.
func copied(f *os.File, runs bool) (*os.File, envelope.Hash, error) {
	flags := unix.MFD_ALLOW_SEALING | unix.MFD_CLOEXEC
	kind := unix.MFD_NOEXEC_SEAL
	if runs {
		kind = unix.MFD_EXEC
	}
	fd, err := unix.MemfdCreate("approved", flags|kind)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("approved", flags)
	}
	if err != nil {
		return nil, envelope.Hash{}, errors.New("the system gives no memory for a copy of it")
	}
	c := os.NewFile(uintptr(fd), "approved")
	h := sha256.New()
	err = copyAll(io.MultiWriter(c, h), whole(f), maxCopy)
	if err == nil {
		_, err = unix.FcntlInt(c.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err == nil {
		_, err = c.Seek(0, io.SeekStart)
	}
	if err != nil {
		c.Close()
		return nil, envelope.Hash{}, err
	}
	return c, envelope.Hash(h.Sum(nil)), nil
}

// lease makes the kernel hold back whoever opens the file for writing, until it is
// released, or closed. It can't be had for another's file without CAP_LEASE, on some
// file systems, and while somebody writes: then the file's state must do.
func lease(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return err == nil
}

func stateOf(f *os.File) (state, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return state{uint64(st.Dev), st.Ino, st.Size, st.Ctim}, err
}

// still says that nobody has written to the file, or tried to, since it was read.
func (t *taken) still() error {
	if t.lease {
		if kind, err := unix.FcntlInt(t.file.Fd(), unix.F_GETLEASE, 0); err != nil || kind != unix.F_RDLCK {
			return errors.New("somebody wants to write to it")
		}
		return nil
	}
	if now, err := stateOf(t.file); err != nil || now != t.seen {
		return errors.New("it was changed, or renamed, since it was read")
	}
	return nil
}

// still says it of the program, and lets writers go on: the kernel refuses to write to
// what runs.
func (all *Files) still() error {
	if all.seen == (state{}) {
		return nil // a sealed copy
	}
	t := taken{file: all.Program, seen: all.seen, lease: all.lease}
	if err := t.still(); err != nil {
		return fmt.Errorf("%w: the program's file: %w", ErrChanged, err)
	}
	if all.lease {
		unix.FcntlInt(all.Program.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return nil
}
