//go:build unix

package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// failingDisk is the ledger's folder on a disk that fills up when told.
type failingDisk struct {
	dir  string
	full atomic.Bool
}

type failingFile struct {
	*os.File
	d *failingDisk
}

var errFull = errors.New("no space left on device")

func (f failingFile) Sync() error {
	if f.d.full.Load() {
		return errFull
	}
	return f.File.Sync()
}

func (d *failingDisk) open(name string, flag int) (ledger.File, int64, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), flag, 0o600)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	return failingFile{f, d}, st.Size(), err
}

func (d *failingDisk) Open(name string) (ledger.File, int64, error) { return d.open(name, os.O_RDWR) }
func (d *failingDisk) Create(name string) (ledger.File, error) {
	f, _, err := d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	return f, err
}
func (d *failingDisk) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}
func (d *failingDisk) Remove(name string) error { return os.Remove(filepath.Join(d.dir, name)) }
func (d *failingDisk) List() ([]string, error)  { return nil, nil }

// After a failed fsync nothing starts, and the agent ends: only a fresh start
// reads what is really on disk.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	d := &failingDisk{dir: filepath.Join(w.dir, "ledger")}
	h, err := New(w.config())
	w.must(err)
	h.api, h.dial, h.disk = fakeAPI{w}, w.dial, d
	h.open = func(n *uplink.Uplink) outside { w.net = n; return fakeOutside{network{n}, w} }
	up, ended := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- h.Run(ctx, func() { close(up) }) }()
	<-up
	argv, ran := canary(t)
	e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob)})
	if !e.answer.Allowed() || !ran() {
		t.Fatalf("%+v", e)
	}
	w.must(os.Remove(argv[1]))
	d.full.Store(true)
	e = w.try(attempt{argv: argv, approve: w.approvedBy(w.bob), patience: time.Second})
	if e.answer.Allowed() || ran() {
		t.Fatalf("it ran on a full disk: %+v", e)
	}
	var disk *diskError
	if err := <-ended; !errors.As(err, &disk) || !errors.Is(err, errFull) {
		t.Errorf("the agent's end: %v", err)
	}
}

// Sessions leave neither goroutines nor files.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.try(attempt{argv: []string{"true"}}) // whatever is made once
	count := func() (goroutines, files int) {
		fds, _ := os.ReadDir("/proc/self/fd")
		return runtime.NumGoroutine(), len(fds)
	}
	settle := func(goroutines, files int) {
		t.Helper()
		for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			g, f := count()
			if g <= goroutines && f <= files {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%d goroutines and %d files, before %d and %d", g, f, goroutines, files)
			}
		}
	}
	w.idle()
	g, f := count()
	for range 10 {
		// One world has one alice who does one thing at a time.
		if e := w.try(attempt{argv: []string{"sh", "-c", "echo x; sleep 0.01"}}); e.stdout != "x\n" {
			t.Errorf("%+v", e)
		}
	}
	w.idle()
	settle(g, f)
}

func TestKeysAreMadeOnceAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	p1, r1, err := Keys(dir)
	if err != nil {
		t.Fatal(err)
	}
	p2, r2, err := Keys(dir)
	if err != nil || p1 != p2 || r1.String() != r2.String() {
		t.Errorf("%v %v %v", p1, p2, err)
	}
	for _, name := range []string{"agent.key", "unsealer.key"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
}

// Whoever passes messages on may send a third one while the half still starts.
func TestEarlyFinish(t *testing.T) {
	id := token.ID{1}
	s := &sessions{half: map[token.ID]*ward{id: {}}}
	s.Finish(wire.SignalFinish{SessionID: id, HS3: []byte("early")})
	h := &finished{}
	d := s.half[id]
	d.a = &admission{id: id}
	if !s.has(d, h) {
		t.Fatal("a half-open session did not get its half")
	}
	s.Finish(wire.SignalFinish{SessionID: id, HS3: []byte("in time")})
	s.closed = true
	s.Finish(wire.SignalFinish{SessionID: id, HS3: []byte("late")})
	if got := string(h.hs3); got != "in time" {
		t.Errorf("the half got %q", got)
	}
	if s.has(d, h) {
		t.Error("a half that starts while the agent stops must end")
	}
}

type finished struct {
	half
	hs3 []byte
}

func (f *finished) Finish(hs3 []byte) { f.hs3 = append(f.hs3, hs3...) }
