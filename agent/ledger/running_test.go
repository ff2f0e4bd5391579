package ledger

import (
	"errors"
	"testing"
	"time"
)

// Whatever the disk does, a session is remembered after Put returned, forgotten after
// Remove did, and a file that has changed is no session.
func TestRunning(t *testing.T) {
	a, b := [16]byte{1}, [16]byte{2}
	open := func(d *memDisk) *Running {
		t.Helper()
		r, err := openRunning(d)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	d := newMemDisk()
	r := open(d)
	for id, what := range map[[16]byte]string{a: "one", b: "two"} {
		if err := r.Put(id, []byte(what)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := r.Put(a, []byte("one again")); err != nil {
		t.Fatal(err)
	}
	for name, after := range map[string]*memDisk{"kill": d.kill(), "power": d.crash(false), "torn": d.crash(true)} {
		if all := open(after).All(); len(all) != 1 || string(all[a]) != "one again" {
			t.Errorf("after %s: %q", name, all)
		}
	}
	whole := d.files[runningName(a)].live
	for i := range whole {
		changed := d.kill()
		changed.files[runningName(a)].live[i] ^= 1
		if all := open(changed).All(); len(all) != 0 || len(changed.files) != 0 {
			t.Errorf("byte %d changed: %q, %d files", i, all, len(changed.files))
		}
	}
	for n := 1; n <= 6; n++ {
		for _, after := range []bool{false, true} {
			d := newMemDisk()
			r := open(d)
			d.fail, d.after = n, after
			var done []byte
			for i := byte(0); i < 3; i++ {
				if err := r.Put(a, []byte{i}); err != nil {
					break
				}
				done = []byte{i}
			}
			got := open(d.crash(false)).All()[a]
			if done != nil && (got == nil || got[0] != done[0] && got[0] != done[0]+1) {
				t.Errorf("fault %d after %v: done %v, on disk %v", n, after, done, got)
			}
			if n <= 6 && !errors.Is(r.Put(b, nil), ErrBroken) && d.calls >= n {
				t.Errorf("fault %d: it goes on after a failed write", n)
			}
		}
	}
	if err := open(newMemDisk()).Put(a, make([]byte, maxRunning)); err == nil {
		t.Error("anything fits")
	}
	l, err := Open(t.TempDir(), Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Running.Put(a, []byte("x")); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := l.Running.Put(a, []byte("x")); !errors.Is(err, ErrBroken) {
		t.Errorf("after Close: %v", err)
	}
}
