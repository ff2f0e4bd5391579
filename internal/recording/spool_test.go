package recording

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

func openSpool(t testing.TB, w world, dir string, max int64) *Spool {
	t.Helper()
	s, err := OpenSpool(dir, max, w.teamFP, w.agent)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// take uploads everything that waits.
func take(t testing.TB, s *Spool) *stored {
	t.Helper()
	up := &stored{}
	for {
		p, ok := s.Next()
		if !ok {
			return up
		}
		m, err := s.Manifest(p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Segment(p)
		if err != nil {
			t.Fatal(err)
		}
		up.manifests, up.segments = append(up.manifests, m), append(up.segments, b)
		if err := s.Done(p); err != nil {
			t.Fatal(err)
		}
	}
}

func begin(t testing.TB, w world, s *Spool) (*Writer, *Spooled) {
	t.Helper()
	sink, err := s.Create(w.session)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := NewWriter(w.config(), sink)
	if err != nil {
		t.Fatal(err)
	}
	return rec, sink
}

func folders(t testing.TB, dir string) int {
	t.Helper()
	e, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func TestSpool(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "spool")
	s := openSpool(t, w, dir, 64<<20)
	rec, sink := begin(t, w, s)
	if _, err := s.Create(w.session); err == nil {
		t.Error("one session is recorded twice")
	}
	io.WriteString(rec.Stream(true), "canary-plaintext")
	if _, ok := s.Next(); ok {
		t.Error("an open segment waits to be uploaded")
	}
	if _, err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.More():
	default:
		t.Error("nobody was told")
	}
	// The agent may end here: what waits, waits on disk.
	s = openSpool(t, w, dir, 64<<20)
	if s.Used() == 0 {
		t.Error("nothing is counted after a new start")
	}
	up := take(t, s)
	c, err := w.chain(up.manifests)
	if err != nil || !c.Complete() {
		t.Fatal(err)
	}
	events, err := collect(t, c, up, w.auditor, 1)
	if err != nil || output(events) != "canary-plaintext" {
		t.Errorf("%q, %v", output(events), err)
	}
	if folders(t, dir) != 0 || s.Used() != 0 {
		t.Errorf("%d folders and %d bytes are left", folders(t, dir), s.Used())
	}
}

// After a crash what is whole is signed, and not as the end; a torn write is cut
// off.
func TestSpoolAfterACrash(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	s := openSpool(t, w, dir, 64<<20)
	rec, _ := begin(t, w, s)
	out := rec.Stream(true)
	flush := func() {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.flush()
	}
	io.WriteString(out, "one ")
	rec.late(func() { rec.flush(); rec.sign(false) })
	io.WriteString(out, "two ")
	flush()
	name := s.file(w.session, 2, extSegment)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(out, "three")
	flush()
	rec.stop() // and now the agent is gone
	all, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(segmentMagic) - 1; cut <= len(all); cut += 97 {
		crashed := filepath.Join(t.TempDir(), "spool")
		if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(crashed, w.session.String(), "2.seg"), int64(cut)); err != nil {
			t.Fatal(err)
		}
		s := openSpool(t, w, crashed, 64<<20)
		if s.Damage() != nil {
			t.Fatalf("cut at %d: %v", cut, s.Damage())
		}
		up := take(t, s)
		c, err := w.chain(up.manifests)
		if err != nil || c.Complete() {
			t.Fatalf("cut at %d: %v, complete %v", cut, err, c.Complete())
		}
		events, err := collect(t, c, up, w.auditor, 1)
		want := "one "
		if cut >= len(whole) {
			want = "one two "
		}
		if cut == len(all) {
			want = "one two three"
		}
		if err != nil || output(events) != want {
			t.Errorf("cut at %d of %d: %q, %v; want %q", cut, len(all), output(events), err, want)
		}
	}
	// A folder that makes no sense is left alone and told of; the agent starts.
	if err := os.WriteFile(s.file(w.session, 1, extManifest), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, w, dir, 64<<20)
	if s.Damage() == nil || folders(t, dir) != 1 {
		t.Errorf("damage %v, %d folders", s.Damage(), folders(t, dir))
	}
}

func TestSpoolIsFull(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	s := openSpool(t, w, dir, MaxSegment+100<<10)
	rec, sink := begin(t, w, s)
	noise := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	var err error
	for range 2 * MaxSegment / len(noise) {
		if _, err = rec.Stream(true).Write(noise); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("a full spool: %v", err)
	}
	if _, err := rec.Close(); !errors.Is(err, ErrFull) {
		t.Errorf("Close = %v", err)
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Create([16]byte{9}); !errors.Is(err, ErrFull) {
		t.Errorf("Create in a full spool = %v", err)
	}
	up := take(t, s) // what is there is signed, as far as it goes
	c, err := w.chain(up.manifests)
	if err != nil || c.Complete() {
		t.Errorf("%v, complete %v", err, c.Complete())
	}
	if err := c.Verify(context.Background(), up); err != nil {
		t.Error(err)
	}
	if folders(t, dir) != 0 || s.Used() != 0 {
		t.Errorf("%d folders and %d bytes are left", folders(t, dir), s.Used())
	}
	if _, err := s.Create([16]byte{9}); err != nil {
		t.Errorf("Create after it was emptied = %v", err)
	}
}

func TestSpoolSetsAside(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	s := openSpool(t, w, dir, 64<<20)
	rec, sink := begin(t, w, s)
	if _, err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	p, _ := s.Next()
	s.SetAside(p, errors.New("refused"))
	if _, ok := s.Next(); ok {
		t.Error("what was set aside comes again")
	}
	if _, ok := openSpool(t, w, dir, 64<<20).Next(); !ok {
		t.Error("what was set aside is lost")
	}
}

// A recording goes on in another process's spool: what the first one had not
// acknowledged is written once, and the chain is whole.
func TestSpoolIsTakenOver(t *testing.T) {
	for name, unanswered := range map[string]bool{"every call was answered": false, "the last call was done and not answered": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := filepath.Join(t.TempDir(), "spool")
			first, err := openSpool(t, w, dir, 1<<30).Create(w.session)
			if err != nil {
				t.Fatal(err)
			}
			to := &handedOver{Spooled: first}
			rec, err := NewWriter(w.config(), to)
			if err != nil {
				t.Fatal(err)
			}
			out := rec.Stream(true)
			noise := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
			for i := range 2 * MaxSegment / len(noise) {
				if i%40 == 20 {
					if unanswered {
						to.again = true
					}
					s, err := OpenSpool(dir, 1<<30, w.teamFP, w.agent, w.session)
					if err != nil {
						t.Fatal(err)
					}
					if to.Spooled, err = s.Resume(w.session); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := out.Write(noise); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := rec.Close(); err != nil {
				t.Fatal(err)
			}
			if err := to.Close(); err != nil {
				t.Fatal(err)
			}
			up := take(t, to.s)
			c, err := w.chain(up.manifests)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Verify(t.Context(), up); err != nil {
				t.Fatal(err)
			}
			if !c.Complete() || folders(t, dir) != 0 {
				t.Errorf("complete: %v, folders: %d", c.Complete(), folders(t, dir))
			}
		})
	}
}

// handedOver is a sink that knows what was acknowledged, and forgets an answer.
type handedOver struct {
	*Spooled
	n     uint64
	at    int64
	again bool
}

func (h *handedOver) Append(n uint64, b []byte) error {
	if n != h.n {
		h.n, h.at = n, 0
	}
	err := h.AppendAt(n, h.at, b)
	if err == nil && h.again {
		h.again = false
		err = h.AppendAt(n, h.at, b)
	}
	h.at += int64(len(b))
	return err
}

func (h *handedOver) Sign(m Manifest) (envelope.Hash, error) {
	first, err := h.Spooled.Sign(m)
	if err != nil {
		return first, err
	}
	again, err := h.Spooled.Sign(m)
	if err == nil && again != first {
		err = errors.New("signed twice, differently")
	}
	return again, err
}
