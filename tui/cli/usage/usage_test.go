package usage

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/wire"
)

func TestSums(t *testing.T) {
	since := time.Unix(1000, 0)
	pages := map[uint64]wire.UsagePage{
		0: {Next: 7, Sessions: []wire.SessionUsage{
			{Operator: [32]byte{1}, Started: 3000, Seconds: 60, Sent: 1500, Received: 2_000_000}, {Operator: [32]byte{2}, Started: 2500},
		}},
		7: {Next: 3, Sessions: []wire.SessionUsage{
			{Operator: [32]byte{1}, Started: 1000, Seconds: 30, Sent: 1, Received: 2}, {Operator: [32]byte{1}, Started: 999, Sent: 1},
		}},
	}
	of := func(u wire.SessionUsage) string { return map[byte]string{1: "alice\x1b[2J", 2: "bob"}[u.Operator[0]] }
	read := func(pages map[uint64]wire.UsagePage) ([]sum, string, error) {
		var out, said bytes.Buffer
		c := &CLI{Out: &out, Err: &said}
		sums, err := c.read(t.Context(), func(_ context.Context, before uint64) (wire.UsagePage, error) {
			p, ok := pages[before]
			if !ok {
				return p, errors.New("a page too many")
			}
			return p, nil
		}, of, since)
		if err == nil {
			err = c.print("member", sums)
		}
		return sums, out.String() + said.String(), err
	}
	sums, out, err := read(pages)
	want := []sum{{"alice\x1b[2J", 2, 2, 90, 1501, 2_000_002}, {"bob", 1, 0, 0, 0, 0}}
	if err != nil || !reflect.DeepEqual(sums, want) {
		t.Errorf("%+v, %v", sums, err)
	}
	lines := strings.Split(out, "\n")
	if strings.Contains(out, "\x1b") || len(lines) != 5 || !strings.Contains(lines[1], "1m30s  1.5 KB  2.0 MB") || !strings.HasPrefix(lines[3], "all") {
		t.Errorf("printed:\n%s", out)
	}
	if _, out, err := read(map[uint64]wire.UsagePage{0: {}}); err != nil || !strings.Contains(out, "no sessions") {
		t.Errorf("of nothing: %q, %v", out, err)
	}
	again := wire.UsagePage{Next: 5, Sessions: []wire.SessionUsage{{Started: 2000}}}
	if _, _, err := read(map[uint64]wire.UsagePage{0: again, 5: again}); err == nil {
		t.Error("pages that go on for ever are read for ever")
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1 KB", 1501: "1.5 KB", 123_456: "123 KB", 1 << 53: "9.0 PB", 1 << 63: "9223 PB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}
