package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

// machine runs a filter as a kernel would.
func machine(t testing.TB, goarch string) func(arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	raw, err := For(goarch)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("not all instructions are known")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, nr uint32, args ...uint64) uint32 {
		// struct seccomp_data; this machine reads words as networks do.
		data := make([]byte, 64)
		binary.BigEndian.PutUint32(data[0:], nr)
		binary.BigEndian.PutUint32(data[4:], arch)
		for i, a := range args {
			binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
			binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
		}
		// It gives an answer as an int, cut to 32 bits.
		out, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(out)
	}
}

func TestAnswers(t *testing.T) {
	const (
		x64, i386, arm64, arm = 0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028
		noListener, noX32     = errno + ebusy, errno + enosys
	)
	for _, tc := range []struct {
		name   string
		goarch string
		arch   uint32
		nr     uint32
		args   []uint64
		want   uint32
	}{
		{"execve", "amd64", x64, 59, nil, notify},
		{"execveat", "amd64", x64, 322, nil, notify},
		{"execve of the other ABI's number", "amd64", x64, 11, nil, allow},
		{"read", "amd64", x64, 0, nil, allow},
		{"a listener", "amd64", x64, 317, []uint64{1, 8}, noListener},
		{"a listener among flags", "amd64", x64, 317, []uint64{1, 8 | 1 | 32}, noListener},
		{"a listener with bits that the kernel does not look at", "amd64", x64, 317, []uint64{1 | 1<<40, 8 | 1<<63}, noListener},
		{"a filter", "amd64", x64, 317, []uint64{1, 1}, allow},
		{"strict mode", "amd64", x64, 317, []uint64{0, 0}, allow},
		{"sizes", "amd64", x64, 317, []uint64{3, 8}, allow},
		{"x32 execve", "amd64", x64, x32 + 520, nil, noX32},
		{"x32 execveat", "amd64", x64, x32 + 545, nil, noX32},
		{"x32 with the number of execve", "amd64", x64, x32 + 59, nil, noX32},
		{"x32 seccomp", "amd64", x64, x32 + 317, []uint64{1, 8}, noX32},
		{"no call", "amd64", x64, 0xffff_ffff, nil, noX32},
		{"int 0x80 execve", "amd64", i386, 11, nil, notify},
		{"int 0x80 execveat", "amd64", i386, 358, nil, notify},
		{"int 0x80 with the number of the other ABI", "amd64", i386, 59, nil, allow},
		{"int 0x80 listener", "amd64", i386, 354, []uint64{1, 8}, noListener},
		{"int 0x80 filter", "amd64", i386, 354, []uint64{1, 0}, allow},
		{"an ABI of another machine", "amd64", arm64, 221, nil, kill},
		{"an unknown ABI", "amd64", 0, 59, nil, kill},

		{"arm64 execve", "arm64", arm64, 221, nil, notify},
		{"arm64 execveat", "arm64", arm64, 281, nil, notify},
		{"arm64 read", "arm64", arm64, 63, nil, allow},
		{"arm64 listener", "arm64", arm64, 277, []uint64{1, 8}, noListener},
		{"arm64 filter", "arm64", arm64, 277, []uint64{1, 0}, allow},
		{"arm execve", "arm64", arm, 11, nil, notify},
		{"arm execveat", "arm64", arm, 387, nil, notify},
		{"arm listener", "arm64", arm, 383, []uint64{1, 8}, noListener},
		{"arm number in arm64", "arm64", arm64, 11, nil, allow},
		{"x86-64 on arm64", "arm64", x64, 59, nil, kill},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := machine(t, tc.goarch)(tc.arch, tc.nr, tc.args...); got != tc.want {
				t.Errorf("%#x, want %#x", got, tc.want)
			}
		})
	}
}

// Whatever the filter asks the listener about, the listener can name, and nothing
// else: all numbers there are or could be, in all ABIs.
func TestLookupAgreesWithFilter(t *testing.T) {
	for goarch, abis := range tables {
		run := machine(t, goarch)
		for _, a := range abis {
			for nr := range uint32(1024) {
				c, ok := Lookup(goarch, a.Audit, nr)
				if asked := run(a.Audit, nr) == notify; asked != ok || ok && (c.ABI != a || c.At != (nr == a.execveat)) {
					t.Errorf("%s: call %d: asked %v, lookup %+v %v", a.Name, nr, asked, c, ok)
				}
			}
		}
		if _, ok := Lookup(goarch, 1, abis[0].execve); ok {
			t.Errorf("%s names a call of an unknown ABI", goarch)
		}
	}
}

// Every ABI has one word size, one name and one number; kernels differ by them.
func TestTables(t *testing.T) {
	if got := slices.Sorted(maps.Keys(tables)); fmt.Sprint(got) != "[amd64 arm64]" {
		t.Errorf("tables for %v", got)
	}
	for goarch, abis := range tables {
		if abis[0].Word != 8 || abis[1].Word != 4 || abis[0].Audit>>31 != 1 || abis[1].Audit>>31 != 0 {
			t.Errorf("%s: the ABI of 64 bits comes first: %+v", goarch, abis)
		}
		for _, a := range abis {
			if a.execve == a.execveat || a.execve == a.seccomp || a.execveat == a.seccomp || a.seccomp == 0 {
				t.Errorf("%s: %+v", goarch, a)
			}
		}
	}
	if _, err := For("riscv64"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("riscv64: %v", err)
	}
}
