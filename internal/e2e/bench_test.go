package e2e

import (
	"io"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
)

// The benchmarks are of everything together, in one process on loopback: what a
// person waits for, without the network's own time.

// BenchmarkSession is a command from the request to its exit: policy, proof, grant
// and audit entries on disk, handshake, relay, the program itself, and its end.
func BenchmarkSession(b *testing.B) {
	d := startDemo(b, "")
	desk := d.open(b, "alice")
	defer desk.Close()
	for b.Loop() {
		t, err := desk.Open(b.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"true"}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, t); err != nil {
			b.Fatal(err)
		}
		if exit, err := t.Wait(); err != nil || exit.Code != 0 {
			b.Fatal(exit, err)
		}
		t.Close()
	}
}

// echoing opens a session that gives back what it is sent, over the relay.
func echoing(b *testing.B) backend.Terminal {
	b.Helper()
	d := startDemo(b, "")
	desk := d.open(b, "alice")
	b.Cleanup(func() { desk.Close() })
	desk.UsePath(control.RelayOnly)
	t, err := desk.Open(b.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"cat"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { t.Close() })
	return t
}

// BenchmarkEcho is one keystroke to a program on the machine and back, through a
// true relay.
func BenchmarkEcho(b *testing.B) {
	t := echoing(b)
	key := []byte{'x'}
	for b.Loop() {
		if _, err := t.Write(key); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(t, key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBulk is a mebibyte to a program on the machine and back, through a true
// relay.
func BenchmarkBulk(b *testing.B) {
	t := echoing(b)
	block, back := make([]byte, 1<<20), make([]byte, 1<<20)
	b.SetBytes(2 * int64(len(block)))
	for b.Loop() {
		go t.Write(block)
		if _, err := io.ReadFull(t, back); err != nil {
			b.Fatal(err)
		}
	}
}
