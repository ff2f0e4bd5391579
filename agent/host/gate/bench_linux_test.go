package gate

import (
	"os/exec"
	"testing"
)

// BenchmarkTrue starts /bin/true 2,000 times from a shell: bare, and with each start
// asked about, judged and looked at.
func BenchmarkTrue(b *testing.B) {
	bare := func() *exec.Cmd {
		return exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done")
	}
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if err := bare().Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gated", func(b *testing.B) {
		g, err := New(shimArg)
		if err != nil {
			b.Fatal(err)
		}
		defer g.Close()
		for b.Loop() {
			cmd := bare()
			s, err := g.Start(cmd, &judge{judge: func(*Program) Answer { return Start }})
			if err != nil {
				b.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
}
