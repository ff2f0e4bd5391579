package gallery

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/tucdesk/tucdesk/agent/host/seat"
	"github.com/tucdesk/tucdesk/internal/watching"
)

// keys is the input of a program.
type keys struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (k *keys) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}

func (k *keys) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.String()
}

func read(t *testing.T, r io.Reader) watching.Message {
	t.Helper()
	m, err := watching.Read(r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// One who does not read makes nobody wait, and then begins again with what is shown: what
// was left out and what was seen are the whole output.
func TestSlow(t *testing.T) {
	s := seat.New(io.Discard, 1000, 80, 24)
	s.Write([]byte("before"))
	g := New(s, &keys{}, func(Change) {})
	slow, end := net.Pipe()
	if err := g.Add("bob", false, end); err != nil {
		t.Fatal(err)
	}
	if m := read(t, slow); m.Type != watching.Screen || string(m.Bytes) != "before" || m.Cols != 80 || m.Rows != 24 || m.Lost != 0 {
		t.Errorf("begins with %+v", m)
	}
	all := len("before")
	chunk := bytes.Repeat([]byte("x"), 40<<10)
	for range 50 { // nobody reads, and this does not block
		s.Write(chunk)
		all += len(chunk)
	}
	s.Resize(100, 30)
	s.Write([]byte("after"))
	all += len("after")
	got, screens := 0, 0
	for cols := uint16(0); got < all || cols != 100; {
		switch m := read(t, slow); m.Type {
		case watching.Screen:
			screens++
			got, cols = int(m.Lost)+len(m.Bytes), m.Cols
		case watching.Output:
			got += len(m.Bytes)
		case watching.Size:
			cols = m.Cols
		}
	}
	if got != all || screens == 0 {
		t.Errorf("%d of %d bytes, %d screens", got, all, screens)
	}
	g.Close("over")
	if m := read(t, slow); m.Type != watching.End || m.Reason != "over" {
		t.Errorf("ends with %+v", m)
	}
	if _, err := watching.Read(slow); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	_, end = net.Pipe()
	if err := g.Add("bob", false, end); !errors.Is(err, ErrOver) {
		t.Errorf("after the end: %v", err)
	}
}

// Who observes types nothing, who has joined does; all changes are told, and no more are
// let in than may be.
func TestComeAndGo(t *testing.T) {
	k := &keys{}
	changes := make(chan Change, 100)
	s := seat.New(io.Discard, 1000, 80, 24)
	g := New(s, k, func(c Change) { changes <- c })
	var ends []net.Conn
	for i := range watching.Most {
		ours, theirs := net.Pipe()
		ends = append(ends, ours)
		if err := g.Add("w", i == 1, theirs); err != nil {
			t.Fatal(err)
		}
		if c := <-changes; c.Left || len(c.Watch) != i+1 || c.Who.N != uint64(i+1) {
			t.Errorf("%+v", c)
		}
		read(t, ours)
	}
	_, more := net.Pipe()
	if err := g.Add("w", false, more); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := more.Write([]byte("x")); err == nil {
		t.Error("one who is not let in is still connected")
	}
	ends[0].Write([]byte("no"))
	ends[1].Write([]byte("yes"))
	ends[0].Write([]byte("never")) // what came before has been taken
	ends[1].Write([]byte("."))
	ends[1].Close()
	if c := <-changes; !c.Left || c.Who.N != 2 || len(c.Watch) != watching.Most-1 {
		t.Errorf("%+v", c)
	}
	if k.String() != "yes." {
		t.Errorf("typed: %q", k)
	}
	g.Dismiss(2, "gone already")
	g.Dismiss(3, strings.Repeat("\u00e9", watching.MaxReason))
	if m := read(t, ends[2]); m.Type != watching.End || len(m.Reason) > watching.MaxReason || !strings.HasPrefix(m.Reason, "\u00e9") {
		t.Errorf("dismissed: %+v", m)
	}
	if c := <-changes; !c.Left || c.Who.N != 3 {
		t.Errorf("%+v", c)
	}
	go g.Close("over")
	for i, c := range ends {
		if i > 2 || i == 0 {
			read(t, c)
		}
	}
	for range watching.Most - 2 {
		<-changes
	}
}

// The owner is told who watches, and at once when that changes.
func TestAudience(t *testing.T) {
	var a Audience
	ours, theirs := net.Pipe()
	dismissed := make(chan uint64, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Tell(t.Context(), theirs, func(n uint64) { dismissed <- n })
	}()
	for _, want := range [][]watching.Watcher{nil, {{N: 1, Who: "bob"}}, nil} {
		if want != nil {
			a.Set(want)
		}
		r, err := watching.ReadRoll(ours)
		if err != nil || len(r.Watchers) != len(want) {
			t.Fatalf("%+v %v, want %+v", r, err, want)
		}
		if want != nil {
			go a.Set(nil)
		}
	}
	if err := watching.WriteDismissal(ours, watching.Dismissal{N: 4}); err != nil || <-dismissed != 4 {
		t.Error(err)
	}
	ours.Close()
	<-done
}
