// Package rosterfile keeps a roster on disk: a folder with the genesis, and the
// statements one after another in an append-only file, each with its length
// before it. What is added is durable before it is used, so a roster never goes
// back, also not over a crash; a torn tail is cut at the next open.
//
//	genesis      the genesis envelope
//	statements   repeated: length (uint32, big endian), envelope
//	fork-N       evidence: two statements signed under number N
//
// Several processes may share the folder; each sees what the others added when
// it adds something itself or calls Reload.
package rosterfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// maxFile bounds the statements file, in bytes: a hundred thousand machines.
const maxFile = 512 << 20

// ErrOtherTeam means a genesis that is not the pinned one.
var ErrOtherTeam = errors.New("rosterfile: the genesis is not of the team that is pinned here")

// A File is an opened roster folder. It is safe for concurrent use.
type File struct {
	dir string

	mu     sync.Mutex
	r      *roster.Roster
	size   int64 // bytes of statements that r holds
	broken error // a failed write: nothing more is accepted
}

// Create stores a genesis, whose hash must be fp, and opens the folder. A folder
// that holds the same genesis already is just opened.
func Create(dir string, fp envelope.Hash, genesis []byte) (*File, error) {
	r, err := roster.Open(genesis)
	if err != nil {
		return nil, err
	}
	if r.TeamFP() != fp {
		return nil, fmt.Errorf("%w: it has %s, pinned is %s", ErrOtherTeam, r.TeamFP(), fp)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("rosterfile: %w", err)
	}
	path := filepath.Join(dir, "genesis")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := writeDurably(path, genesis, os.O_CREATE|os.O_EXCL|os.O_WRONLY); err != nil {
			return nil, err
		}
	}
	return Open(dir, fp)
}

// Open reads the folder. Every signature is checked again: the disk is not
// trusted more than the network.
func Open(dir string, fp envelope.Hash) (*File, error) {
	g, err := readAtMost(filepath.Join(dir, "genesis"), envelope.MaxSize)
	if err != nil {
		return nil, err
	}
	r, err := roster.Open(g)
	if err != nil {
		return nil, fmt.Errorf("rosterfile: %s: %w", dir, err)
	}
	if r.TeamFP() != fp {
		return nil, fmt.Errorf("%w: %s has %s, pinned is %s", ErrOtherTeam, dir, r.TeamFP(), fp)
	}
	f := &File{dir: dir, r: r}
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Roster gives the newest roster that this File knows.
func (f *File) Roster() *roster.Roster {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r
}

// Reload takes in what other processes have added.
func (f *File) Reload() (*roster.Roster, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	unlock, err := f.lock()
	if err != nil {
		return f.r, err
	}
	defer unlock()
	err = f.reload()
	return f.r, err
}

// Learn adds statements, from anywhere, at a time by the reader's own clock. It passes
// over what is known, stores what follows, and stops at the first that is refused. A fork is kept on disk
// as evidence and returned as *roster.ForkError. The roster it returns is always
// the newest good one.
func (f *File) Learn(now time.Time, statements [][]byte) (*roster.Roster, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.r, f.broken
	}
	if len(statements) == 0 {
		return f.r, nil
	}
	unlock, err := f.lock()
	if err != nil {
		return f.r, err
	}
	defer unlock()
	if err := f.reload(); err != nil {
		return f.r, err
	}
	next, refused := f.r.Learn(now, statements...)
	var fork *roster.ForkError
	if errors.As(refused, &fork) {
		if err := f.keepEvidence(fork); err != nil {
			refused = errors.Join(refused, err)
		}
	}
	if err := f.append(next.Statements(f.r.Head().Seq)); err != nil {
		f.broken = err
		return f.r, err
	}
	f.r = next
	return f.r, refused
}

func (f *File) path(name string) string { return filepath.Join(f.dir, name) }

func (f *File) lock() (func(), error) {
	unlock, err := lockedfile.MutexAt(f.path("lock")).Lock()
	if err != nil {
		return nil, fmt.Errorf("rosterfile: %w", err)
	}
	return unlock, nil
}

// reload applies what the statements file holds beyond f.size, and cuts a torn
// tail. The caller holds both locks.
func (f *File) reload() error {
	st, err := os.Stat(f.path("statements"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rosterfile: %w", err)
	}
	if st.Size() == f.size {
		return nil
	}
	if st.Size() < f.size || st.Size() > maxFile {
		return fmt.Errorf("rosterfile: %s has %d bytes, read so far were %d: it was changed by someone else; restore it from a backup", f.path("statements"), st.Size(), f.size)
	}
	file, err := os.Open(f.path("statements"))
	if err != nil {
		return fmt.Errorf("rosterfile: %w", err)
	}
	defer file.Close()
	b := make([]byte, st.Size()-f.size)
	if n, err := file.ReadAt(b, f.size); n < len(b) {
		return fmt.Errorf("rosterfile: %w", err)
	}
	var more [][]byte
	var whole int64
	for rest := b; len(rest) >= 4; {
		n := int(binary.BigEndian.Uint32(rest))
		if n == 0 || n > envelope.MaxSize {
			return fmt.Errorf("rosterfile: %s is damaged at byte %d; remove the folder and fetch the roster again", f.path("statements"), f.size+whole)
		}
		if len(rest) < 4+n {
			break
		}
		more = append(more, rest[4:4+n])
		rest = rest[4+n:]
		whole += int64(4 + n)
	}
	next, err := f.r.Apply(more...)
	if err != nil {
		return fmt.Errorf("rosterfile: %s: %w", f.path("statements"), err)
	}
	if whole < int64(len(b)) { // a crash tore the last write
		if err := os.Truncate(f.path("statements"), f.size+whole); err != nil {
			return fmt.Errorf("rosterfile: %w", err)
		}
	}
	f.r, f.size = next, f.size+whole
	return nil
}

// append stores statements durably. The caller holds both locks.
func (f *File) append(statements [][]byte) error {
	if len(statements) == 0 {
		return nil
	}
	var b []byte
	for _, s := range statements {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	if err := writeDurably(f.path("statements"), b, os.O_CREATE|os.O_APPEND|os.O_WRONLY); err != nil {
		return err
	}
	f.size += int64(len(b))
	return nil
}

// keepEvidence writes both statements of a fork, once.
func (f *File) keepEvidence(e *roster.ForkError) error {
	var b []byte
	for _, s := range [][]byte{e.Known, e.Second} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	err := writeDurably(f.path(fmt.Sprintf("fork-%d", e.Seq)), b, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeDurably writes b and returns when the file and its folder are synced.
func writeDurably(path string, b []byte, flag int) error {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return fmt.Errorf("rosterfile: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = keyfile.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("rosterfile: %w", err)
	}
	return nil
}

func readAtMost(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("rosterfile: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n+1))
	if err == nil && int64(len(b)) > n {
		err = fmt.Errorf("%s is larger than %d bytes", path, n)
	}
	if err != nil {
		return nil, fmt.Errorf("rosterfile: %w", err)
	}
	return b, nil
}
