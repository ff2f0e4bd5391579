package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// clockName holds one record: magic, unix seconds i64, CRC.
const (
	clockName  = "clock"
	clockMagic = "tdclock\n"
	clockSize  = len(clockMagic) + 8 + 4
)

const (
	// clockSlack is how far a clock may go back.
	clockSlack = time.Minute
	// clockStep is how far it goes on before that is written.
	clockStep = 30 * time.Second
)

// ErrBack means that the machine's clock is behind what it was: what had expired would
// be good again.
var ErrBack = errors.New("ledger: the clock of this machine has gone back")

// A clock remembers the latest time that it was told, by the machine's own clock: within
// half a minute across restarts. Whatever expires, expires by a clock that only goes on.
type clock struct {
	mu     sync.Mutex
	d      Disk
	latest time.Time // zero: none yet
	kept   time.Time // what the disk has
	broken bool
}

func openClock(d Disk) (*clock, error) {
	f, b, err := read(d, clockName, int64(clockSize))
	if err != nil {
		return nil, err
	}
	c := &clock{d: d}
	if f == nil {
		return c, nil
	}
	f.Close()
	n := len(b)
	if n != clockSize || string(b[:len(clockMagic)]) != clockMagic || binary.BigEndian.Uint32(b[n-4:]) != sum(b[:n-4]) {
		// The file is only ever replaced whole, so this is no crash.
		return nil, fmt.Errorf("%w: %s; if the time of this machine is right, run `tucdesk-agent clock --reset` as root", ErrDamaged, clockName)
	}
	c.kept = time.Unix(int64(binary.BigEndian.Uint64(b[len(clockMagic):])), 0)
	c.latest = c.kept
	return c, nil
}

// tell is told what time it is, and says ErrBack if that is more than a minute before
// what it was told earlier.
func (c *clock) tell(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken:
		return ErrBroken
	case now.Before(c.latest.Add(-clockSlack)):
		return fmt.Errorf("%w: it says %s, and has said %s; set it right, or, if it is right now, stop the agent and run `tucdesk-agent clock --reset` there as root",
			ErrBack, now.UTC().Format(time.RFC3339), c.latest.UTC().Format(time.RFC3339))
	case now.After(c.latest):
		c.latest = now
	}
	if !c.kept.IsZero() && c.latest.Sub(c.kept) < clockStep {
		return nil
	}
	b := append(make([]byte, 0, clockSize), clockMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.latest.Unix()))
	b = binary.BigEndian.AppendUint32(b, sum(b))
	w, err := replace(c.d, clockName, b)
	if err != nil {
		c.broken = true
		return fmt.Errorf("ledger: %s: %w", clockName, err)
	}
	w.Close()
	c.kept = c.latest
	return nil
}

// Latest reads, in the folder of a ledger that no agent has open, up to which time its
// machine's clock has come; the zero time if that is not known.
func Latest(dir string) (time.Time, error) {
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return time.Time{}, err
	}
	defer lock.Close()
	c, err := openClock(osDisk{dir})
	if err != nil {
		return time.Time{}, err
	}
	return c.latest, nil
}

// ResetClock forgets up to which time the machine's clock has come, in the folder of a
// ledger that no agent has open: for a clock that was ahead once. Used ids stay used.
func ResetClock(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	return osDisk{dir}.Remove(clockName)
}
