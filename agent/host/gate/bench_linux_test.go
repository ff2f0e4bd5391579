package gate

import (
	"os/exec"
	"runtime"
	"testing"
)

// compare runs a script bare and gated: how many times as long it takes is what the gate
// costs. Its judge lets everything start.
func compare(b *testing.B, script string) {
	b.Run("bare", func(b *testing.B) {
		dir := openDir(b)
		for b.Loop() {
			if err := command(nil, dir, script).Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gated", func(b *testing.B) {
		g, dir := newGate(b), openDir(b)
		for b.Loop() {
			cmd := command(nil, dir, script)
			s, err := g.Start(cmd, &judge{judge: func(*Program) Answer { return Start }})
			if err != nil {
				b.Fatal(err)
			}
			await(b, cmd)
			s.Close()
			if !cmd.ProcessState.Success() {
				b.Fatal(cmd.ProcessState)
			}
		}
	})
}

// BenchmarkTrue is 2,000 x /bin/true from a shell.
func BenchmarkTrue(b *testing.B) {
	compare(b, "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done")
}

// BenchmarkMake is make -j2 of 60 C files.
func BenchmarkMake(b *testing.B) {
	if _, err := exec.LookPath("cc"); err != nil {
		b.Skip("a C compiler is missing: apt-get install gcc libc6-dev")
	}
	compare(b, "rm -f *.o; for i in $(seq 60); do printf '#include <stdio.h>\\nint f%d(void) { return puts(\"x\"); }\\n' $i >$i.c; done; "+
		"echo 'all: $(addsuffix .o,$(shell seq 60))' >Makefile; make -sj2 CFLAGS=-O1")
}

// BenchmarkSession is what a session that rests costs this process, in bytes of the heap
// and threads.
func BenchmarkSession(b *testing.B) {
	g := newGate(b)
	var before, after runtime.MemStats
	const n = 20
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		var all []*Session
		var cmds []*exec.Cmd
		for range n {
			cmd := exec.Command("/bin/sleep", "600")
			s, err := g.Start(cmd, &judge{judge: func(*Program) Answer { return Start }})
			if err != nil {
				b.Fatal(err)
			}
			all, cmds = append(all, s), append(cmds, cmd)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		for i, s := range all {
			cmds[i].Process.Kill()
			cmds[i].Wait()
			s.Close()
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/session")
	}
}
