package ledger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

var (
	// ErrUsed means that this id was used before.
	ErrUsed = errors.New("ledger: already used")
	// ErrTooOld means an id below a floor: it can't be told from a used one.
	ErrTooOld = errors.New("ledger: too old to be told from a used one; ask again")
	// ErrFull means that no more can be kept. Nothing is dropped to make room.
	ErrFull = errors.New("ledger: full")
	// ErrBroken means that an earlier write failed. The process must start again.
	ErrBroken = errors.New("ledger: an earlier write failed; restart the agent once its disk is well")
	// ErrDamaged means a file that holds something else than what was written.
	ErrDamaged = errors.New("ledger: damaged file")
	// ErrLocked means that another process has the folder open.
	ErrLocked = errors.New("ledger: another agent runs on this folder")
	// ErrLower means a roster head below the one seen before, or another one
	// with the same number.
	ErrLower = errors.New("ledger: roster head lower than, or different from, one already seen")
)

// Options vary a Ledger for tests. The zero value is the real thing.
type Options struct {
	Disk Disk             // nil: the folder itself
	Now  func() time.Time // nil: time.Now
}

// A Ledger is the open folder. Its parts are safe for concurrent use.
type Ledger struct {
	Used    *Used
	Head    *HeadFile
	Outbox  *Outbox
	Running *Running
	lock    io.Closer
}

// Open locks dir, making it with mode 0700 where it is missing, and reads what
// it holds.
func Open(dir string, o Options) (_ *Ledger, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if o.Disk == nil {
		o.Disk = osDisk{dir}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Ledger{lock: lock}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.Used, err = openUsed(o.Disk, o.Now); err != nil {
		return nil, err
	}
	if l.Head, err = openHead(o.Disk); err != nil {
		return nil, err
	}
	if l.Outbox, err = openOutbox(o.Disk); err != nil {
		return nil, err
	}
	if l.Running, err = openRunning(o.Disk); err != nil {
		return nil, err
	}
	return l, nil
}

// Close gives the folder back. Later calls to the parts fail.
func (l *Ledger) Close() error {
	if l.Used != nil {
		l.Used.close()
	}
	if l.Head != nil {
		l.Head.close()
	}
	if l.Outbox != nil {
		l.Outbox.close()
	}
	if l.Running != nil {
		l.Running.close()
	}
	return l.lock.Close()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(parts ...[]byte) uint32 {
	var c uint32
	for _, p := range parts {
		c = crc32.Update(c, castagnoli, p)
	}
	return c
}
