//go:build !race

// The race detector keeps copies of its own.

package session

import (
	"bufio"
	"bytes"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/tucdesk/tucdesk/internal/canary"
)

// mask keeps a process's knowledge of what is looked for in it from being found.
const mask = 0xa5

func masked(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= mask
	}
	return out
}

// random makes a fixture of which nothing is known beforehand.
func (x *fixture) random(from []byte) {
	n := 0
	take := func(size int) []byte {
		n += size
		return masked(from[n-size : n])
	}
	x.v.ScalarO, x.v.ScalarA = take(32), take(32)
	x.v.SeedKEM, x.v.RandomKEM = take(mlkem.SeedSize), take(32)
}

const randomSize = 32 + 32 + mlkem.SeedSize + 32

// TestNoKeyIsLeftInMemory has another process do a handshake and use the session, with
// randomness that this one knows and therefore all keys, and looks for these in its
// memory: some are there while the session stands, and none after it was closed.
//
// Where the system interrupts a thread it saves registers, with whatever they hold:
// what is found now and then is not what the code leaves, which is found each time.
func TestNoKeyIsLeftInMemory(t *testing.T) {
	if from := os.Getenv("TUCDESK_TEST_CANARY"); from != "" {
		inhabit(t, from)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("another process's memory is read on Linux only")
	}
	var left map[string]bool
	for range 6 {
		found := leftBySession(t)
		if left != nil {
			maps.DeleteFunc(found, func(name string, _ bool) bool { return !left[name] })
		}
		if left = found; len(left) == 0 {
			return
		}
	}
	t.Errorf("a process has these after they were done with, each time: %v", left)
}

// leftBySession gives which keys another process has kept too long.
func leftBySession(t *testing.T) map[string]bool {
	t.Helper()
	seed := make([]byte, randomSize)
	rand.Read(seed)
	x := newFixture(t, SuiteHybrid)
	x.random(seed)
	v := x.vector(t)
	keys := canary.Needles{
		"scalar_o": v.ScalarO, "scalar_a": v.ScalarA, "seed_kem": v.SeedKEM, "mlkem_secret": v.KEMSecret, "dh": v.DH, "prk": v.PRK,
		"k_hs_a2o": v.KeyA2O, "k_hs_o2a": v.KeyO2A, "k_fin_a": v.KeyFinA, "k_fin_o": v.KeyFinO, "exporter": v.Exporter,
	}
	for _, e := range v.Epochs {
		if e.Way == "o2a" && e.Epoch < 2 || e.Epoch == 0 {
			name := fmt.Sprintf("%s epoch %d ", e.Way, e.Epoch)
			keys[name+"secret"], keys[name+"key"] = e.Secret, e.Key
		}
	}
	// A MAC keeps its key in another form (RFC 2104).
	for name, b := range maps.Clone(keys) {
		if len(b) == hashSize {
			for _, pad := range []byte{0x36, 0x5c} {
				k := bytes.Clone(b)
				for i := range k {
					k[i] ^= pad
				}
				keys[fmt.Sprintf("%s, pad %x", name, pad)] = k
			}
		}
	}

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoKeyIsLeftInMemory$")
	cmd.Env = append(os.Environ(), "TUCDESK_TEST_CANARY="+hex.EncodeToString(seed))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	lines := bufio.NewScanner(out)
	at := func(state string) map[string]int {
		t.Helper()
		for lines.Scan() && lines.Text() != state {
		}
		if lines.Text() != state {
			t.Fatalf("the other process did not get to %q", state)
		}
		found, err := canary.Memory(cmd.Process.Pid, keys)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(in, "\n")
		return found
	}
	left := map[string]bool{}
	open := at("open")
	for _, name := range []string{"exporter", "o2a epoch 1 secret", "o2a epoch 1 key", "a2o epoch 0 secret", "a2o epoch 0 key"} {
		if open[name] == 0 {
			t.Fatalf("%s of an open session is not found: this test looks in the wrong place", name)
		}
		delete(open, name)
	}
	for name := range open {
		left[name] = true
	}
	for name := range at("closed") {
		left[name+", after close"] = true
	}
	return left
}

// inhabit is the other process.
func inhabit(t *testing.T, from string) {
	seed, err := hex.DecodeString(from)
	if err != nil {
		t.Fatal(err)
	}
	x := newFixture(t, SuiteHybrid)
	x.random(seed)
	var eo, ea *Established
	done := make(chan struct{})
	go func() {
		defer close(done)
		// What this test knows of the keys passes over this stack, which is made
		// large before and clean afterwards.
		burn(64)
		defer burn(32)
		_, _, _, eo, ea = x.shake(t)
	}()
	<-done
	for _, b := range [][]byte{x.v.ScalarO, x.v.ScalarA, x.v.SeedKEM, x.v.RandomKEM, x.kemSecret} {
		clear(b)
	}
	accept(t, eo, ea)
	eo.records.seal.bytes = RekeyBytes
	opens(t, ea.Records(), seal(t, eo.Records(), "in epoch 1"), "in epoch 1")
	ea.records.open.mu.Lock()
	ea.records.open.forgetPrev()
	ea.records.open.mu.Unlock()
	said := bufio.NewReader(os.Stdin)
	say := func(state string) {
		fmt.Println(state)
		said.ReadString('\n')
	}
	say("open")
	eo.Close()
	ea.Close()
	say("closed")
}

// burn overwrites n kB of the stack.
//
//go:noinline
func burn(n int) byte {
	var b [1 << 10]byte
	if n > 0 {
		b[n] = burn(n - 1)
	}
	return b[n/2]
}
