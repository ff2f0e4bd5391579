package e2e

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/path"
)

// TestPaths opens terminals by each way and looks at what passes the servers.
func TestPaths(t *testing.T) {
	d := startDemo(t, "")
	// A block of this many bytes through the relay can't be overlooked.
	block := strings.Repeat("0123456789abcde\n", 16<<10)
	for way, want := range map[control.Path]string{
		control.AnyPath: path.Direct, control.DirectOnly: path.Direct, control.RelayOnly: "relay/udp",
	} {
		t.Run("path "+string(way), func(t *testing.T) {
			b := d.open(t, "alice")
			defer b.Close()
			b.UsePath(way)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			term, err := b.Open(ctx, backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"cat"}})
			if err != nil {
				t.Fatal(err)
			}
			defer term.Close()
			first := term.Assurance().Path
			if wants := map[control.Path]string{control.AnyPath: "relay/udp", control.RelayOnly: "relay/udp", control.DirectOnly: path.Direct}; first != wants[way] {
				t.Errorf("begins on %q", first)
			}
			if way == control.RelayOnly {
				time.Sleep(time.Second) // several times what a direct path takes
			}
			for term.Assurance().Path != want {
				if ctx.Err() != nil {
					t.Fatalf("still on %q", term.Assurance().Path)
				}
				time.Sleep(5 * time.Millisecond)
			}
			before := d.seen()
			go io.WriteString(term, block)
			back := make([]byte, len(block))
			if _, err := io.ReadFull(term, back); err != nil || string(back) != block {
				t.Fatalf("what came back is not what was sent: %v", err)
			}
			passed := d.seen() - before
			if by := passed > len(block); by != (want != path.Direct) {
				t.Errorf("on %s, %d bytes passed the servers", want, passed)
			}
		})
	}
}

// seen is how much has passed the rendezvous and the relay.
func (d *demo) seen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed.Len()
}
