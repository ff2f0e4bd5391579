package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

var t0 = time.Unix(1_800_000_000, 0)

func at(d time.Duration) func() time.Time { return func() time.Time { return t0.Add(d) } }

func item(n int, issued time.Duration) Item {
	it := Item{Kind: Nonce, Issued: t0.Add(issued), Expires: t0.Add(issued + 5*time.Minute)}
	copy(it.ID[:], fmt.Sprintf("nonce %010d", n))
	return it
}

func mustUsed(t *testing.T, d Disk, now func() time.Time) *Used {
	t.Helper()
	u, err := openUsed(d, now)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUseOnce(t *testing.T) {
	d := newMemDisk()
	u := mustUsed(t, d, at(0))
	a, b := item(1, 0), item(2, 0)
	if err := u.Check(a); err != nil {
		t.Fatal(err)
	}
	if err := u.Use(a); err != nil {
		t.Fatal(err)
	}
	if err := u.Use(a); !errors.Is(err, ErrUsed) {
		t.Fatalf("second use: %v", err)
	}
	if err := u.Use(b, a); !errors.Is(err, ErrUsed) {
		t.Fatalf("used one in a list: %v", err)
	}
	if err := u.Use(b, b); !errors.Is(err, ErrUsed) {
		t.Fatalf("one item twice in a list: %v", err)
	}
	if err := u.Use(b); err != nil {
		t.Fatalf("a refused list must mark nothing: %v", err)
	}
	same := a
	same.Kind = Session
	if err := u.Use(same); err != nil {
		t.Fatalf("kinds must not collide: %v", err)
	}
	if err := u.Use(Item{Kind: Nonce, Issued: t0, Expires: t0.Add(time.Hour)}); err == nil {
		t.Fatal("the zero id was accepted")
	}
	if err := u.Use(Item{ID: a.ID, Issued: t0, Expires: t0.Add(time.Hour)}); err == nil {
		t.Fatal("the zero kind was accepted")
	}
	// After kill -9 and after a power cut.
	for name, again := range map[string]*memDisk{"kill": d.kill(), "power cut": d.crash(false)} {
		u := mustUsed(t, again, at(time.Minute))
		if u.Damaged() {
			t.Fatalf("%s: damaged", name)
		}
		for _, it := range []Item{a, b, same} {
			if err := u.Use(it); !errors.Is(err, ErrUsed) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// A lost ledger must not make old ids fresh.
func TestNewFileRefusesWhatIsOlder(t *testing.T) {
	u := mustUsed(t, newMemDisk(), at(time.Minute))
	if err := u.Use(item(1, 0)); !errors.Is(err, ErrTooOld) {
		t.Fatalf("issued before the ledger began: %v", err)
	}
	if err := u.Use(item(1, time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// Whatever the cut, no used id is taken again.
func TestUsedTruncatedAtEveryByte(t *testing.T) {
	d := newMemDisk()
	u := mustUsed(t, d, at(0))
	for n := range 20 {
		if err := u.Use(item(n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	whole := d.files[usedName].synced
	step := 1
	for n := 0; n < len(whole); n += step {
		if n > headerSize+21*slotSize {
			step = 997 // free slots from here on
		}
		c := d.kill()
		c.files[usedName].live = whole[:n]
		u := mustUsed(t, c, at(time.Second))
		if !u.Damaged() {
			t.Fatalf("cut at %d: not noticed", n)
		}
		for i := range 20 {
			if err := u.Use(item(i, 0)); err == nil {
				t.Fatalf("cut at %d: item %d used twice", n, i)
			}
		}
		if err := u.Use(item(99, 2*time.Minute)); err != nil {
			t.Fatalf("cut at %d: what is made later must work: %v", n, err)
		}
		if u2 := mustUsed(t, c.kill(), at(time.Second)); u2.Damaged() {
			t.Fatalf("cut at %d: the repaired file is damaged", n)
		} else if err := u2.Use(item(3, 0)); err == nil {
			t.Fatalf("cut at %d: item used twice after repair and restart", n)
		}
	}
}

func TestUsedBitFlips(t *testing.T) {
	d := newMemDisk()
	u := mustUsed(t, d, at(0))
	for n := range 10 {
		if err := u.Use(item(n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	whole := d.files[usedName].synced
	for bit := range 8 * (headerSize + 12*slotSize) {
		c := d.kill()
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		c.files[usedName].live = b
		u, err := openUsed(c, at(time.Second))
		if err != nil {
			continue // refusing to start is safe
		}
		if !u.Damaged() {
			t.Fatalf("bit %d: not noticed", bit)
		}
		for i := range 10 {
			if err := u.Use(item(i, 0)); err == nil {
				t.Fatalf("bit %d: item %d used twice", bit, i)
			}
		}
	}
}

// Swapping two slots, or copying one over another, is damage too.
func TestUsedSlotsKnowTheirPlace(t *testing.T) {
	d := newMemDisk()
	u := mustUsed(t, d, at(0))
	if err := u.Use(item(1, 0), item(2, 0)); err != nil {
		t.Fatal(err)
	}
	b := d.files[usedName].live
	copy(b[headerSize+slotSize:], b[headerSize:headerSize+slotSize])
	u = mustUsed(t, d.kill(), at(time.Second))
	if err := u.Use(item(2, 0)); !u.Damaged() || err == nil {
		t.Fatalf("damaged=%v use: %v", u.Damaged(), err)
	}
}

// At each call that changes the disk: fail before, fail after, fail half way.
// Use must never answer nil for something a restart would take again, and never
// go on after an error.
func TestUsedFaultsEverywhere(t *testing.T) {
	for _, mode := range []string{"before", "after", "short"} {
		for n := 1; ; n++ {
			d := newMemDisk()
			d.fail, d.after, d.short = n, mode == "after", mode == "short"
			var done []Item
			u, err := openUsed(d, at(0))
			failed := err != nil
			for i := 0; err == nil && i < 5; i++ {
				it := item(i, 0)
				if e := u.Use(it); e == nil {
					if failed {
						t.Fatalf("%s %d: went on after a failure", mode, n)
					}
					done = append(done, it)
				} else {
					failed = true
					if i > 0 && !errors.Is(u.Use(item(100+i, 0)), ErrBroken) {
						t.Fatalf("%s %d: not broken after %v", mode, n, e)
					}
				}
			}
			for name, c := range map[string]*memDisk{"kill": d.kill(), "power": d.crash(false), "torn": d.crash(true)} {
				u, err := openUsed(c, at(time.Second))
				if err != nil {
					t.Fatalf("%s %d %s: %v", mode, n, name, err)
				}
				for _, it := range done {
					if err := u.Use(it); err == nil {
						t.Fatalf("%s %d: used again after %s", mode, n, name)
					}
				}
			}
			if !failed {
				break // n is beyond the last call
			}
		}
	}
}

func TestUsedPruneRaisesTheFloor(t *testing.T) {
	now := t0
	clock := func() time.Time { return now }
	d := newMemDisk()
	u := mustUsed(t, d, clock)
	first := item(0, 0)
	if err := u.Use(first); err != nil {
		t.Fatal(err)
	}
	now = t0.Add(time.Hour)
	for n := 1; n < 3*minSlots; n++ {
		if err := u.Use(item(n, time.Hour)); err != nil {
			t.Fatal(n, err)
		}
	}
	if _, there := u.ids[first.key()]; there {
		t.Fatal("an id that expired an hour ago is still kept")
	}
	now = t0 // the clock is turned back; the id would look fresh again
	if err := u.Use(first); !errors.Is(err, ErrBack) {
		t.Fatalf("pruned id after a clock rollback: %v", err)
	}
	d = d.kill()
	if err := mustUsed(t, d, clock).Use(first); !errors.Is(err, ErrBack) {
		t.Fatalf("the same after a restart: %v", err)
	}
	if err := d.Remove(clockName); err != nil { // as ResetClock does
		t.Fatal(err)
	}
	if err := mustUsed(t, d, clock).Use(first); !errors.Is(err, ErrTooOld) {
		t.Fatalf("the same when the clock is said to be right: %v", err)
	}
}

func TestUsedIsBounded(t *testing.T) {
	u := mustUsed(t, newMemDisk(), at(0))
	for n := range maxUsed {
		k := item(n, 0)
		u.ids[k.key()] = k.times()
	}
	if err := u.Use(item(maxUsed, 0)); !errors.Is(err, ErrFull) {
		t.Fatalf("%v", err)
	}
}

// Random operations against a plain map: a nil answer at most once for each id,
// through restarts, crashes and pruning.
func TestUsedModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := t0
		clock := func() time.Time { return now }
		d := newMemDisk()
		u, err := openUsed(d, clock)
		if err != nil {
			t.Fatal(err)
		}
		used := map[Item]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				d = d.kill()
			case 1:
				d = d.crash(rapid.Bool().Draw(t, "torn"))
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(-600, 1200).Draw(t, "seconds")) * time.Second)
				continue
			default:
				it := item(rapid.IntRange(0, 20).Draw(t, "id"), time.Duration(rapid.IntRange(0, 3).Draw(t, "issued"))*time.Minute)
				if u.Use(it) == nil {
					if used[it] {
						t.Fatalf("%v used twice", it)
					}
					used[it] = true
				}
				continue
			}
			if u, err = openUsed(d, clock); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzUsedFile(f *testing.F) {
	d := newMemDisk()
	u, err := openUsed(d, at(0))
	if err != nil {
		f.Fatal(err)
	}
	u.Use(item(1, 0))
	f.Add(d.files[usedName].live[:headerSize+4*slotSize])
	f.Add([]byte{})
	f.Add([]byte(usedMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemDisk()
		d.files[usedName] = &memInode{live: b}
		u, err := openUsed(d, at(0))
		if err != nil {
			return
		}
		if it := item(7, time.Hour); u.Use(it) == nil {
			if err := mustUsed(t, d.kill(), at(0)).Use(it); !errors.Is(err, ErrUsed) {
				t.Fatalf("after a strange file: %v", err)
			}
		}
	})
}

func TestHeadNeverGoesBack(t *testing.T) {
	d := newMemDisk()
	h, err := openHead(d)
	if err != nil {
		t.Fatal(err)
	}
	one := Head{Seq: 1, Hash: envelope.Sum([]byte("1")), Confirmed: t0}
	two := Head{Seq: 2, Hash: envelope.Sum([]byte("2")), Confirmed: t0.Add(time.Minute)}
	for _, x := range []Head{one, two} {
		if err := h.Advance(x); err != nil {
			t.Fatal(err)
		}
	}
	other := two
	other.Hash[0] ^= 1
	for name, x := range map[string]Head{"lower": one, "same number, other hash": other} {
		if err := h.Advance(x); !errors.Is(err, ErrLower) {
			t.Errorf("%s: %v", name, err)
		}
	}
	back := two
	back.Confirmed = t0
	if err := h.Advance(back); err != nil || !h.Get().Confirmed.Equal(two.Confirmed) {
		t.Errorf("confirmed went back: %v %v", err, h.Get())
	}
	again, err := openHead(d.crash(false))
	if err != nil || again.Get() != h.Get() {
		t.Fatalf("after a power cut: %v, want %v (%v)", again.Get(), h.Get(), err)
	}
	whole := d.files[headName].live
	for n := range len(whole) {
		c := d.kill()
		c.files[headName].live = whole[:n]
		if _, err := openHead(c); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		c = d.kill()
		c.files[headName].live[n] ^= 0x10
		if _, err := openHead(c); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flip at %d: %v", n, err)
		}
	}
}

func TestHeadFaults(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; n <= 4; n++ {
			d := newMemDisk()
			h, _ := openHead(d)
			if err := h.Advance(Head{Seq: 5, Hash: envelope.Sum([]byte("5"))}); err != nil {
				t.Fatal(err)
			}
			d.calls, d.fail, d.after = 0, n, after
			if err := h.Advance(Head{Seq: 6, Hash: envelope.Sum([]byte("6"))}); err == nil {
				t.Fatalf("call %d: no error", n)
			}
			if h.Get().Seq != 5 {
				t.Fatal("a head that is not on disk is shown")
			}
			if err := h.Advance(Head{Seq: 7}); !errors.Is(err, ErrBroken) {
				t.Fatalf("after a failure: %v", err)
			}
			again, err := openHead(d.crash(false))
			if err != nil || again.Get().Seq < 5 {
				t.Fatalf("call %d: %v %v", n, again, err)
			}
		}
	}
}

// chain signs entries that name their number and what came before.
func chain(seq uint64, prev envelope.Hash) ([]byte, envelope.Hash, error) {
	b := fmt.Appendf(nil, "entry %d after %s", seq, prev)
	return b, envelope.Sum(b), nil
}

func checkChain(t interface {
	Helper()
	Fatalf(string, ...any)
}, entries []Entry, prev envelope.Hash) {
	t.Helper()
	for i, e := range entries {
		if want := fmt.Sprintf("entry %d after %s", e.Seq, prev); string(e.Bytes) != want || e.Hash != envelope.Sum(e.Bytes) {
			t.Fatalf("entry %d is %q, want %q", i, e.Bytes, want)
		}
		prev = e.Hash
	}
}

func TestOutboxKeepsUntilAcknowledged(t *testing.T) {
	d := newMemDisk()
	o, err := openOutbox(d)
	if err != nil {
		t.Fatal(err)
	}
	var all []Entry
	for range 5 {
		e, err := o.Append(false, chain)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	checkChain(t, all, envelope.Hash{})
	if err := o.Ack(2); err != nil {
		t.Fatal(err)
	}
	if err := o.Ack(6); err == nil {
		t.Fatal("acknowledged what was never made")
	}
	o, err = openOutbox(d.crash(false))
	if err != nil {
		t.Fatal(err)
	}
	got := o.Pending(100)
	if len(got) != 3 || got[0].Seq != 3 {
		t.Fatalf("pending after restart: %v", got)
	}
	checkChain(t, got, all[1].Hash)
	if err := o.Ack(5); err != nil {
		t.Fatal(err)
	}
	e, err := o.Append(false, chain)
	if err != nil || e.Seq != 6 {
		t.Fatalf("%v %v", e, err)
	}
	checkChain(t, []Entry{e}, all[4].Hash)
	select {
	case <-o.More():
	default:
		t.Fatal("no signal for a new entry")
	}
}

func TestOutboxTornTail(t *testing.T) {
	d := newMemDisk()
	o, _ := openOutbox(d)
	for range 3 {
		if _, err := o.Append(false, chain); err != nil {
			t.Fatal(err)
		}
	}
	end2 := o.size
	if _, err := o.Append(false, chain); err != nil {
		t.Fatal(err)
	}
	whole := d.files[outboxName].live
	for n := int(end2); n < len(whole); n++ { // the last record torn at each byte
		c := d.kill()
		c.files[outboxName].live = whole[:n]
		o, err := openOutbox(c)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if p := o.Pending(9); len(p) != 3 {
			t.Fatalf("cut at %d: %d pending", n, len(p))
		}
		e, err := o.Append(false, chain)
		if err != nil || e.Seq != 4 {
			t.Fatalf("cut at %d: %v %v", n, e.Seq, err)
		}
		if o, err = openOutbox(c.kill()); err != nil || len(o.Pending(9)) != 4 {
			t.Fatalf("cut at %d, again: %v", n, err)
		}
	}
	for n := range int(end2) { // a change in what was whole is never passed over
		c := d.kill()
		c.files[outboxName].live[n] ^= 4
		if o, err := openOutbox(c); err == nil {
			t.Fatalf("flip at %d: opened with %d entries", n, len(o.Pending(9)))
		} else if !errors.Is(err, ErrDamaged) {
			t.Fatalf("flip at %d: %v", n, err)
		}
	}
}

func TestOutboxFaultsEverywhere(t *testing.T) {
	for _, mode := range []string{"before", "after", "short"} {
		for n := 1; ; n++ {
			d := newMemDisk()
			d.fail, d.after, d.short = n, mode == "after", mode == "short"
			var made uint64
			var failed error
			o, err := openOutbox(d)
			if failed = err; err == nil {
				for range 4 {
					e, err := o.Append(false, chain)
					if err != nil {
						failed = err
						if _, err := o.Append(true, chain); !errors.Is(err, ErrBroken) {
							t.Fatalf("%s %d: not broken: %v", mode, n, err)
						}
						break
					}
					made = e.Seq
				}
			}
			for name, c := range map[string]*memDisk{"kill": d.kill(), "power": d.crash(false), "torn": d.crash(true)} {
				o, err := openOutbox(c)
				if err != nil {
					t.Fatalf("%s %d %s: %v", mode, n, name, err)
				}
				p := o.Pending(99)
				if uint64(len(p)) < made {
					t.Fatalf("%s %d %s: %d of %d entries", mode, n, name, len(p), made)
				}
				checkChain(t, p, envelope.Hash{})
			}
			if failed == nil {
				break
			}
		}
	}
}

func TestOutboxModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newMemDisk()
		o, err := openOutbox(d)
		if err != nil {
			t.Fatal(err)
		}
		var all []Entry
		acked := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				if o, err = openOutbox(d.kill()); err != nil {
					t.Fatal(err)
				}
				d = o.d.(*memDisk)
			case 1:
				acked = rapid.IntRange(0, len(all)).Draw(t, "ack")
				if err := o.Ack(uint64(acked)); err != nil {
					t.Fatal(err)
				}
			case 2:
				if err := o.rewrite(); err != nil {
					t.Fatal(err)
				}
			default:
				e, err := o.Append(false, chain)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, e)
			}
			p := o.Pending(1000)
			if len(p) > 0 && p[len(p)-1].Seq != uint64(len(all)) {
				t.Fatalf("last pending is %d of %d", p[len(p)-1].Seq, len(all))
			}
		}
		checkChain(t, all, envelope.Hash{})
	})
}

func TestOutboxIsBounded(t *testing.T) {
	o, _ := openOutbox(newMemDisk())
	o.bytes = maxPending - reserve
	if _, err := o.Append(false, chain); !errors.Is(err, ErrFull) {
		t.Fatalf("into the reserve: %v", err)
	}
	if _, err := o.Append(true, chain); err != nil {
		t.Fatalf("the end of what runs: %v", err)
	}
	o.bytes = maxPending
	if _, err := o.Append(true, chain); !errors.Is(err, ErrFull) {
		t.Fatalf("beyond all: %v", err)
	}
}

func FuzzOutboxFile(f *testing.F) {
	d := newMemDisk()
	o, _ := openOutbox(d)
	o.Append(false, chain)
	o.Append(false, chain)
	o.Ack(1)
	f.Add(d.files[outboxName].live)
	f.Add([]byte(outboxMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemDisk()
		d.files[outboxName] = &memInode{live: b}
		o, err := openOutbox(d)
		if err != nil {
			return
		}
		before := len(o.Pending(1 << 20))
		if _, err := o.Append(true, chain); err != nil {
			return
		}
		o, err = openOutbox(d.kill())
		if err != nil || len(o.Pending(1<<20)) != before+1 {
			t.Fatalf("what was opened and appended to does not open again: %v", err)
		}
	})
}

func TestRealFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	l, err := Open(dir, Options{Now: at(0)})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Fatalf("%v %v", st.Mode(), err)
	}
	if err := l.Used.Use(item(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("opened twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Used.Use(item(2, 0)); !errors.Is(err, ErrBroken) {
		t.Fatalf("use after close: %v", err)
	}
	l, err = Open(dir, Options{Now: at(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Used.Use(item(1, 0)); !errors.Is(err, ErrUsed) {
		t.Fatalf("%v", err)
	}
	if err := l.Used.Use(item(2, 0)); err != nil {
		t.Fatalf("what was refused after close was not used: %v", err)
	}
}

// A child uses a nonce and is killed with SIGKILL; the lock is free and the
// nonce is used.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("TUCDESK_TEST_LEDGER"); dir != "" {
		l, err := Open(dir, Options{Now: at(0)})
		if err == nil {
			err = l.Used.Use(item(1, 0))
		}
		fmt.Println("done", err)
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "TUCDESK_TEST_LEDGER="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line := make([]byte, 64)
	n, err := out.Read(line)
	if got := string(line[:n]); err != nil || got != "done <nil>\n" {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("while the child lives: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	l, err := Open(dir, Options{Now: at(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Used.Use(item(1, 0)); !errors.Is(err, ErrUsed) {
		t.Fatalf("%v", err)
	}
}

func BenchmarkUse(b *testing.B) {
	l, err := Open(b.TempDir(), Options{Now: at(0)})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for n := 0; b.Loop(); n++ {
		if n == maxUsed {
			b.Skip("more ids than a ledger keeps at once")
		}
		if err := l.Used.Use(item(n, 0)); err != nil {
			b.Fatal(err)
		}
	}
}
