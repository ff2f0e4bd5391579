package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A clock may stand still and go back by a minute, no more, also across restarts.
func TestClockGoesBack(t *testing.T) {
	now := t0
	d := newMemDisk()
	u := mustUsed(t, d, func() time.Time { return now })
	for _, c := range []struct {
		to   time.Duration
		back bool
	}{
		{0, false}, {-time.Minute, false}, {-61 * time.Second, true}, {-365 * 24 * time.Hour, true}, {0, false},
		{29 * time.Second, false}, {-31 * time.Second, false}, {-32 * time.Second, true}, {time.Hour, false}, {58 * time.Minute, true}, {time.Hour, false},
	} {
		now = t0.Add(c.to)
		if err := u.Check(); errors.Is(err, ErrBack) != c.back || (err == nil) == c.back {
			t.Errorf("at %v: %v", c.to, err)
		}
		if got := u.Now(); !got.Equal(now) {
			t.Errorf("it is %v, said %v", now, got)
		}
	}
	// Whoever only asks for the time has it remembered, too.
	now = t0.Add(2 * time.Hour)
	u.Now()
	for to, back := range map[time.Duration]bool{2*time.Hour - time.Minute: false, 2*time.Hour - 2*time.Minute: true, 0: true} {
		now = t0.Add(to)
		if err := mustUsed(t, d.kill(), func() time.Time { return now }).Check(); errors.Is(err, ErrBack) != back {
			t.Errorf("started again at %v: %v", to, err)
		}
	}
}

// Nothing is acted on where the time can't be remembered, or what is remembered is not
// what was written.
func TestClockFails(t *testing.T) {
	d := newMemDisk()
	mustUsed(t, d, at(0)).Now()
	whole := d.kill()
	if _, err := openClock(whole); err != nil {
		t.Fatal(err)
	}
	f, n, err := whole.Open(clockName)
	if err != nil || n != int64(clockSize) {
		t.Fatal(n, err)
	}
	for i := range clockSize {
		b := make([]byte, 1)
		f.ReadAt(b, int64(i))
		f.WriteAt([]byte{b[0] ^ 1}, int64(i))
		if _, err := openClock(whole); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "clock --reset") {
			t.Errorf("byte %d changed: %v", i, err)
		}
		f.WriteAt(b, int64(i))
	}
	f.Truncate(int64(clockSize - 1))
	if _, err := openClock(whole); !errors.Is(err, ErrDamaged) {
		t.Errorf("cut: %v", err)
	}
}

// The clock of a folder that no agent has open can be asked for and reset.
func TestResetClock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	if err := ResetClock(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that there is not: %v", err)
	}
	l, err := Open(dir, Options{Now: at(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	l.Used.Now()
	if err := ResetClock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("under a running agent: %v", err)
	}
	l.Close()
	if at, err := Latest(dir); err != nil || !at.Equal(t0.Add(time.Hour)) {
		t.Errorf("%v, %v", at, err)
	}
	if err := ResetClock(dir); err != nil {
		t.Fatal(err)
	}
	if at, err := Latest(dir); err != nil || !at.IsZero() {
		t.Errorf("%v, %v", at, err)
	}
	if l, err = Open(dir, Options{Now: at(0)}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Used.Check(); err != nil {
		t.Error(err)
	}
}
