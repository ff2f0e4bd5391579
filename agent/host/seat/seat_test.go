package seat

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is written, and whoever comes and goes: the kept bytes and those that follow
// are the end of the whole output, and what is lost is counted.
func TestNothingIsMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 40).Draw(t, "most")
		var all, first bytes.Buffer
		s := New(&first, most, 80, 24)
		var sits *bytes.Buffer // since it was taken
		before := 0            // output until then
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "take") {
				next := &bytes.Buffer{}
				if err := s.Take(next, func(p Past) error {
					if int(p.Lost)+len(p.Kept) != all.Len() || len(p.Kept) != min(most, all.Len()) || !bytes.HasSuffix(all.Bytes(), p.Kept) {
						t.Fatalf("kept %q and lost %d of %q", p.Kept, p.Lost, all.Bytes())
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				sits, before = next, all.Len()
				continue
			}
			b := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "output")
			all.Write(b)
			s.Write(b)
		}
		if sits != nil && !bytes.Equal(sits.Bytes(), all.Bytes()[before:]) {
			t.Fatalf("got %q of %q after %d", sits.Bytes(), all.Bytes(), before)
		}
	})
}

// A seat whose operator can't be written to is empty, and so is one that nobody could be
// greeted at. The program goes on.
func TestEmptySeat(t *testing.T) {
	r, broken := io.Pipe()
	r.Close()
	s := New(broken, 8, 80, 24)
	s.Write([]byte("0123456789"))
	s.Resize(100, 30)
	gone := errors.New("gone")
	var next bytes.Buffer
	if err := s.Take(&next, func(p Past) error {
		if string(p.Kept) != "23456789" || p.Lost != 2 || p.Cols != 100 || p.Rows != 30 {
			t.Errorf("past: %+v", p)
		}
		return gone
	}); err != gone {
		t.Errorf("Take: %v", err)
	}
	s.Write([]byte("more"))
	if next.Len() > 0 {
		t.Errorf("who was not greeted got %q", next.Bytes())
	}
}
