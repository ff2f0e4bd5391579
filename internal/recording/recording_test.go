package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A world is who takes part in a test.
type world struct {
	teamFP  envelope.Hash
	session token.ID
	agent   key.Identity
	auditor key.Unsealer
}

func newWorld(t testing.TB) world {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	return world{teamFP: envelope.Sum([]byte("team")), session: token.NewID(), agent: id, auditor: u}
}

func (w world) config() Config {
	return Config{
		TeamFP: w.teamFP, SessionID: w.session, Auditors: []key.Recipient{w.auditor.Recipient()},
		Header: Header{Cols: 80, Rows: 24, Term: "xterm", Title: "alice on web-1"},
	}
}

func (w world) chain(manifests [][]byte) (*Chain, error) {
	return VerifyChain(w.teamFP, w.session, envelope.One(w.agent.Public()), manifests)
}

// stored is a Sink and a Source in memory.
type stored struct {
	agent               key.Identity // who signs
	mu                  sync.Mutex
	segments, manifests [][]byte
	appends             int
	failAt              int // which Append fails; 0: none
}

var errDisk = errors.New("no space left")

// counts gives how often Append was called, and how many segments are signed.
func (s *stored) counts() (appends, signed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appends, len(s.manifests)
}

func (s *stored) Append(n uint64, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appends++; s.appends == s.failAt {
		return errDisk
	}
	if int(n) == len(s.segments)+1 {
		s.segments = append(s.segments, nil)
	}
	if int(n) != len(s.segments) {
		return fmt.Errorf("segment %d out of order", n)
	}
	s.segments[n-1] = append(s.segments[n-1], b...)
	return nil
}

func (s *stored) Sign(m Manifest) (envelope.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(m.N) != len(s.manifests)+1 || int(m.N) != len(s.segments) {
		return envelope.Hash{}, fmt.Errorf("manifest %d out of order", m.N)
	}
	manifest, hash, err := SignManifest(s.agent, m)
	s.manifests = append(s.manifests, manifest)
	return hash, err
}

func (s *stored) Segment(_ context.Context, n uint64) ([]byte, error) {
	if n == 0 || int(n) > len(s.segments) {
		return nil, errors.New("not found")
	}
	return s.segments[n-1], nil
}

func collect(t testing.TB, c *Chain, from Source, with key.Unsealer, n uint64) (events []Event, err error) {
	t.Helper()
	for e, err := range c.Events(t.Context(), from, with, n) {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

// output joins what was shown.
func output(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		if e.Code == Output {
			b.WriteString(e.Data)
		}
	}
	return b.String()
}

// record makes a recording of three segments in simulated time.
func record(t *testing.T, w world) *stored {
	t.Helper()
	s := &stored{agent: w.agent}
	rec, err := NewWriter(w.config(), s)
	if err != nil {
		t.Fatal(err)
	}
	out := rec.Stream(true)
	for i := range 3 {
		if i > 0 {
			time.Sleep(segmentTime + time.Second)
		}
		fmt.Fprintf(out, "part %d\r\n", i)
		time.Sleep(100 * time.Millisecond)
		fmt.Fprintf(out, "end %d\r\n", i)
	}
	if err := rec.Resize(100, 30); err != nil {
		t.Fatal(err)
	}
	if err := rec.Exit(3); err != nil {
		t.Fatal(err)
	}
	head, err := rec.Close()
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.chain(s.manifests)
	if err != nil {
		t.Fatal(err)
	}
	if c.Head() != head || !c.Complete() || c.Segments() != 3 || c.Agent() != w.agent.Kid() {
		t.Fatalf("head %v complete %v segments %d", c.Head() == head, c.Complete(), c.Segments())
	}
	return s
}

func TestRecordAndPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := record(t, w)
		c, err := w.chain(s.manifests)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		h, err := c.Header(t.Context(), s, w.auditor)
		if err != nil || h.Title != "alice on web-1" || h.Timestamp != time.Now().Add(-c.Length()).Unix() {
			t.Errorf("header %+v, %v", h, err)
		}
		events, err := collect(t, c, s, w.auditor, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := output(events), "part 0\r\nend 0\r\npart 1\r\nend 1\r\npart 2\r\nend 2\r\n"; got != want {
			t.Errorf("output %q, want %q", got, want)
		}
		last := events[len(events)-1]
		if last.Code != Exit || last.Data != "3" || last.Time != c.Length() {
			t.Errorf("last event %+v, length %v", last, c.Length())
		}
		// A later segment opens by itself, at its own time, with the screen's size.
		at := c.At(61*time.Second + 50*time.Millisecond)
		if at != 2 {
			t.Errorf("61.05 s are in segment %d, want 2", at)
		}
		tail, err := collect(t, c, s, w.auditor, at)
		if err != nil || len(tail) == 0 || tail[0].Code != Resize || tail[0].Data != "80x24" || tail[0].Time < segmentTime {
			t.Errorf("tail %+v, %v", tail[:min(1, len(tail))], err)
		}
		if c.At(time.Hour) != 3 || c.At(0) != 1 {
			t.Errorf("the seek index: %d, %d", c.At(time.Hour), c.At(0))
		}
		// The sealed segments hold nothing of it.
		for _, b := range s.segments {
			if bytes.Contains(b, []byte("part")) || bytes.Contains(b, []byte("alice")) {
				t.Error("plaintext in a segment")
			}
		}
	})
}

func TestOnlyAuditorsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := record(t, w)
		c, err := w.chain(s.manifests)
		if err != nil {
			t.Fatal(err)
		}
		other := newWorld(t).auditor
		if events, err := collect(t, c, s, other, 1); !errors.Is(err, ErrNotForYou) || len(events) > 0 {
			t.Errorf("%d events, %v", len(events), err)
		}
		cfg := w.config()
		cfg.Auditors = nil
		if _, err := NewWriter(cfg, &stored{}); err == nil {
			t.Error("a recording without auditors began")
		}
	})
}

// Every way in which a server could change a recording is found, and named.
func TestTampering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		good := record(t, w)
		again := record(t, w) // the same session once more: good signatures of the same agent
		other := newWorld(t)
		foreign := record(t, other)
		other.teamFP, other.session = w.teamFP, w.session
		mallory := record(t, other) // the right session, by another key
		replace := func(list [][]byte, i int, with []byte) [][]byte {
			list = slices.Clone(list)
			list[i] = with
			return list
		}
		reseal := func(n int) []byte {
			c, err := w.chain(good.manifests)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := c.links[n].open(good.segments[n], w.auditor)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := key.Seal(plain, w.auditor.Recipient())
			if err != nil {
				t.Fatal(err)
			}
			return appendChunk([]byte(segmentMagic), sealed, time.Duration(c.links[n].Body().T1)*time.Millisecond)
		}
		for _, tt := range []struct {
			name                string
			manifests, segments [][]byte
			n                   uint64
			what                string
		}{
			{"the first missing", good.manifests[1:], good.segments[1:], 1, "missing"},
			{"one missing inside", slices.Delete(slices.Clone(good.manifests), 1, 2), good.segments, 2, "missing"},
			{"two swapped", [][]byte{good.manifests[0], good.manifests[2], good.manifests[1]}, good.segments, 2, "missing"},
			{"one twice", [][]byte{good.manifests[0], good.manifests[0]}, good.segments, 1, "stands after"},
			{"segments swapped", good.manifests, [][]byte{good.segments[1], good.segments[0], good.segments[2]}, 1, "manifest"},
			{"segment cut", good.manifests, replace(good.segments, 1, good.segments[1][:len(good.segments[1])-1]), 2, "bytes"},
			{"segment empty", good.manifests, replace(good.segments, 2, nil), 3, "bytes"},
			{"segment sealed anew", good.manifests, replace(good.segments, 1, reseal(1)), 2, ""},
			{"another recording's manifest", replace(good.manifests, 1, again.manifests[1]), good.segments, 2, "exchanged"},
			{"another recording's segment", good.manifests, replace(good.segments, 1, again.segments[1]), 2, ""},
			{"another session", foreign.manifests, foreign.segments, 1, "not signed"},
			{"another agent", mallory.manifests, mallory.segments, 1, "not signed"},
			{"another agent goes on", replace(good.manifests, 1, mallory.manifests[1]), good.segments, 2, "not signed"},
			{"after the final one", append(slices.Clone(good.manifests), good.manifests[2]), good.segments, 3, "after the final"},
		} {
			c, err := w.chain(tt.manifests)
			if err == nil {
				err = c.Verify(t.Context(), &stored{segments: tt.segments})
				// Playing finds it too, before anything of the segment is opened.
				events, perr := collect(t, c, &stored{segments: tt.segments}, w.auditor, 1)
				if !errors.Is(perr, ErrTampered) || strings.Contains(output(events), fmt.Sprint("part ", tt.n-1)) {
					t.Errorf("%s: played: %v %q", tt.name, perr, output(events))
				}
			}
			var te *TamperError
			if !errors.As(err, &te) || te.N != tt.n || !strings.Contains(te.What, tt.what) {
				t.Errorf("%s: %v, want segment %d: …%s…", tt.name, err, tt.n, tt.what)
			}
		}
		// The end missing is not tampering by itself: a crash looks alike. It shows.
		c, err := w.chain(good.manifests[:2])
		if err != nil || c.Complete() || c.Length() >= 2*segmentTime+2*time.Second || c.Length() < segmentTime {
			t.Errorf("the end missing: %v, complete %v, length %v", err, c.Complete(), c.Length())
		}
		// Every byte.
		for i := range good.manifests {
			for at := range good.manifests[i] {
				m := bytes.Clone(good.manifests[i])
				m[at] ^= 1
				if _, err := w.chain(replace(good.manifests, i, m)); !errors.Is(err, ErrTampered) {
					t.Fatalf("manifest %d, byte %d: %v", i, at, err)
				}
			}
		}
		c, err = w.chain(good.manifests)
		if err != nil {
			t.Fatal(err)
		}
		b := good.segments[0]
		for at := range b {
			b[at] ^= 1
			if err := c.CheckSegment(1, b); !errors.Is(err, ErrTampered) {
				t.Fatalf("segment byte %d: %v", at, err)
			}
			b[at] ^= 1
		}
	})
}

// Chunks come by time and by size, segments too, and what is in memory is
// bounded.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &stored{agent: w.agent}
		rec, err := NewWriter(w.config(), s)
		if err != nil {
			t.Fatal(err)
		}
		out := rec.Stream(true)
		before, _ := s.counts()
		io.WriteString(out, "x")
		time.Sleep(chunkTime - time.Millisecond)
		synctest.Wait()
		if n, _ := s.counts(); n != before {
			t.Error("kept before its time")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n, _ := s.counts(); n != before+1 {
			t.Error("not kept after five seconds")
		}
		time.Sleep(segmentTime)
		synctest.Wait()
		before, signed := s.counts()
		if signed != 1 {
			t.Errorf("%d segments after a minute, want 1", signed)
		}
		// Nothing happens: nothing is written.
		time.Sleep(10 * segmentTime)
		synctest.Wait()
		if n, signed := s.counts(); n != before || signed != 1 {
			t.Errorf("%d writes and %d segments of an idle session", n-before, signed)
		}
		// The worst output: all of it escaped.
		worst := bytes.Repeat([]byte{0x01}, 1<<20)
		for range 2 {
			if _, err := out.Write(worst); err != nil {
				t.Fatal(err)
			}
			rec.mu.Lock()
			n := len(rec.plain)
			rec.mu.Unlock()
			if n > chunkSize {
				t.Fatalf("%d bytes wait in memory", n)
			}
		}
		if _, err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		c, err := w.chain(s.manifests)
		if err != nil || c.Segments() < 3 {
			t.Fatalf("%d segments, %v", c.Segments(), err)
		}
		for i, b := range s.segments {
			if len(b) > MaxSegment {
				t.Errorf("segment %d has %d bytes", i+1, len(b))
			}
		}
		events, err := collect(t, c, s, w.auditor, 1)
		if err != nil || len(output(events)) != 1+2<<20 {
			t.Errorf("%d bytes of output, %v", len(output(events)), err)
		}
	})
}

// A disk that takes no more ends the recording at once, whoever notices.
func TestSinkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := NewWriter(w.config(), &stored{agent: w.agent, failAt: 1}); !errors.Is(err, errDisk) {
			t.Errorf("NewWriter = %v", err)
		}
		var told error
		cfg := w.config()
		cfg.Failed = func(err error) { told = err }
		s := &stored{agent: w.agent, failAt: 2}
		rec, err := NewWriter(cfg, s)
		if err != nil {
			t.Fatal(err)
		}
		out := rec.Stream(true)
		if _, err := io.WriteString(out, "x"); err != nil {
			t.Errorf("Write = %v before the disk was asked", err)
		}
		time.Sleep(chunkTime)
		synctest.Wait()
		if !errors.Is(told, errDisk) {
			t.Errorf("told %v", told)
		}
		if _, err := io.WriteString(out, "x"); !errors.Is(err, errDisk) {
			t.Errorf("Write = %v after it", err)
		}
		if head, err := rec.Close(); !errors.Is(err, errDisk) || !head.IsZero() || len(s.manifests) != 0 {
			t.Errorf("Close = %v, %v, %d manifests", head, err, len(s.manifests))
		}
	})
}

func TestStreamsOfBytes(t *testing.T) {
	w := newWorld(t)
	s := &stored{agent: w.agent}
	rec, err := NewWriter(w.config(), s)
	if err != nil {
		t.Fatal(err)
	}
	out, errs := rec.Stream(true), rec.Stream(false)
	// A character in two writes, with another stream between; bytes that are none.
	out.Write([]byte("a\xe2\x82"))
	errs.Write([]byte("e\n\r\nf\xf0\x9f"))
	out.Write([]byte("\xacb\xff\xfec"))
	if err := errors.Join(out.Flush(), errs.Flush()); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("€", pieceSize) // cut inside of characters
	io.WriteString(out, long)
	if err := rec.Mark("m" + strings.Repeat("é", maxLabel)); err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "x"); err == nil {
		t.Error("a closed recording took output")
	}
	c, err := w.chain(s.manifests)
	if err != nil {
		t.Fatal(err)
	}
	events, err := collect(t, c, s, w.auditor, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := output(events), "ae\r\n\r\nf€b\ufffd\ufffdc\ufffd"+long; got != want {
		t.Errorf("output %.40q…, want %.40q…", got, want)
	}
}

func FuzzManifest(f *testing.F) {
	id := key.IdentityFromSeed([32]byte{1})
	good, _, err := SignManifest(id, Manifest{TeamFP: envelope.Sum(nil), SessionID: token.ID{1}, N: 1, SHA256: envelope.Sum(nil), Len: 100, T1: 5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x82, 0x40, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ParseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error that says nothing: %v", err)
			}
			return
		}
		v, err := u.Verify(envelope.One(id.Public()))
		if err != nil {
			return
		}
		again, _, err := SignManifest(id, v.Body())
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("signed again it is another: %v", err)
		}
	})
}

func FuzzSegment(f *testing.F) {
	b := appendChunk([]byte(segmentMagic), []byte("sealed"), time.Second)
	f.Add(b)
	f.Add(appendChunk(b, []byte("more"), 2*time.Second))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, end, err := chunks(b)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("an error that says nothing: %v", err)
		}
		if err == nil && end != len(b) || end > len(b) {
			t.Fatalf("end %d of %d, %v", end, len(b), err)
		}
		if end == 0 {
			return
		}
		again := []byte(segmentMagic)
		for _, c := range all {
			again = appendChunk(again, c.sealed, time.Duration(c.end)*time.Millisecond)
		}
		if !bytes.Equal(again, b[:end]) {
			t.Fatal("framed again it is another")
		}
	})
}

// BenchmarkWriter is what recording costs a session: encoding, sealing to two
// auditors, hashing; without the disk.
func BenchmarkWriter(b *testing.B) {
	w := newWorld(b)
	cfg := w.config()
	cfg.Auditors = append(cfg.Auditors, newWorld(b).auditor.Recipient())
	rec, err := NewWriter(cfg, discard{})
	if err != nil {
		b.Fatal(err)
	}
	defer rec.Close()
	out := rec.Stream(true)
	text := []byte(strings.Repeat("\x1b[32muser@host\x1b[0m:~$ ls -la /var/log\r\n", 400))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := out.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Append(uint64, []byte) error          { return nil }
func (discard) Sign(Manifest) (envelope.Hash, error) { return envelope.Hash{}, nil }
