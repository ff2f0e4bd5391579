package filter

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
)

// ErrUnsupported means an architecture that has no table.
var ErrUnsupported = errors.New("filter: the exec gate has no system call table for this architecture")

// An ABI is one way in which programs call a kernel.
type ABI struct {
	Name     string
	Audit    uint32 // its AUDIT_ARCH_* number (linux/audit.h)
	Word     int    // bytes of a pointer
	execve   uint32 // numbers of system calls (asm/unistd.h)
	execveat uint32
	seccomp  uint32
	refused  uint32 // bits of a number that mark another ABI, which is refused; 0: none
}

// x32 is the bit that marks a call of x32 (__X32_SYSCALL_BIT).
const x32 = 0x4000_0000

// tables are the ABIs of a kernel, by GOARCH.
var tables = map[string][]ABI{
	"amd64": {
		{Name: "x86-64", Audit: 0xc000_003e, Word: 8, execve: 59, execveat: 322, seccomp: 317, refused: x32},
		{Name: "i386", Audit: 0x4000_0003, Word: 4, execve: 11, execveat: 358, seccomp: 354},
	},
	"arm64": {
		{Name: "arm64", Audit: 0xc000_00b7, Word: 8, execve: 221, execveat: 281, seccomp: 277},
		{Name: "arm", Audit: 0x4000_0028, Word: 4, execve: 11, execveat: 387, seccomp: 383},
	},
}

// A Call is how a program start was asked for.
type Call struct {
	ABI ABI
	At  bool // execveat; else execve
}

// Lookup names the call of a notification: arch and nr as struct seccomp_data has
// them. ok is false for what the filter of goarch never asks about.
func Lookup(goarch string, arch, nr uint32) (c Call, ok bool) {
	for _, a := range tables[goarch] {
		if a.Audit == arch {
			return Call{ABI: a, At: nr == a.execveat}, nr == a.execve || nr == a.execveat
		}
	}
	return Call{}, false
}

// What a filter answers (linux/seccomp.h).
const (
	kill   = 0x8000_0000 // the process
	errno  = 0x0005_0000 // plus the number
	notify = 0x7fc0_0000
	allow  = 0x7fff_0000
)

// Numbers of Linux that hold on every architecture here.
const (
	ebusy  = 16
	enosys = 38

	setModeFilter   = 1      // SECCOMP_SET_MODE_FILTER
	flagNewListener = 1 << 3 // SECCOMP_FILTER_FLAG_NEW_LISTENER
)

// Where things are in struct seccomp_data, little endian: the kernel looks at the
// lower half of both arguments only.
const (
	offNr   = 0
	offArch = 4
	offArg0 = 16
	offArg1 = 24
)

// For gives the filter for the kernel of an architecture, named as GOARCH.
func For(goarch string) ([]bpf.RawInstruction, error) {
	abis := tables[goarch]
	if len(abis) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, goarch)
	}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offArch, Size: 4}}
	for _, a := range abis {
		block := a.block()
		program = append(program, unless(bpf.JumpEqual, a.Audit, len(block)))
		program = append(program, block...)
	}
	return bpf.Assemble(append(program, ret(kill)))
}

// block answers calls of one ABI. Each way through it ends in an answer.
func (a ABI) block() []bpf.Instruction {
	b := []bpf.Instruction{bpf.LoadAbsolute{Off: offNr, Size: 4}}
	if a.refused != 0 {
		b = append(b, unless(bpf.JumpBitsSet, a.refused, 1), ret(errno+enosys))
	}
	return append(b,
		unless(bpf.JumpEqual, a.execve, 1), ret(notify),
		unless(bpf.JumpEqual, a.execveat, 1), ret(notify),
		unless(bpf.JumpEqual, a.seccomp, 5),
		bpf.LoadAbsolute{Off: offArg0, Size: 4},
		unless(bpf.JumpEqual, setModeFilter, 3),
		bpf.LoadAbsolute{Off: offArg1, Size: 4},
		unless(bpf.JumpBitsSet, flagNewListener, 1), ret(errno+ebusy),
		ret(allow),
	)
}

// unless skips the next n instructions where the test does not hold.
func unless(test bpf.JumpTest, value uint32, n int) bpf.Instruction {
	return bpf.JumpIf{Cond: test, Val: value, SkipFalse: uint8(n)}
}

func ret(answer uint32) bpf.Instruction { return bpf.RetConstant{Val: answer} }
