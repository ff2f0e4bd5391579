package claim

import (
	"bytes"
	"strings"
)

// headSize is how much of a file the kernel looks at (BINPRM_BUF_SIZE).
const headSize = 256

// maxScripts is how many #! lines the kernel follows, one to the next.
const maxScripts = 5

// interpreter reads a #! line as the kernel does (fs/binfmt_script.c). head is the
// file's begin, with zeros up to headSize. loads are the interpreter's name and its
// argument, if it has one, which may be empty; nil for what has no such line, or one
// that the kernel does not take.
func interpreter(head *[headSize]byte) (loads []string) {
	line, ok := bytes.CutPrefix(head[:], []byte("#!"))
	if !ok {
		return nil
	}
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	} else {
		// Cut off: fine within the argument, not within the name, which the last
		// byte of the head may end but not be part of.
		rest := bytes.TrimLeft(line, " \t")
		if len(rest) == 0 || !bytes.ContainsAny(rest, " \t\x00") {
			return nil
		}
		line = line[:len(line)-1]
	}
	text := strings.Trim(string(line), " \t")
	end := strings.IndexAny(text, " \t\x00")
	switch {
	case text == "":
		return nil
	case end < 0:
		return []string{text}
	case text[end] == 0:
		return []string{text[:end]}
	}
	arg, _, _ := strings.Cut(strings.TrimLeft(text[end:], " \t"), "\x00")
	return []string{text[:end], arg}
}

// Numbers of ELF (elf.h) that say what a file is for.
const (
	elfData, elfType, elfMachine = 5, 16, 18
)

// machines are those whose programs a kernel loads, by GOARCH.
var machines = map[string][]uint16{
	"amd64": {62, 3, 6},
	"arm64": {183, 40},
}

// isNative reports whether head is that of a program which a kernel of goarch loads
// itself. What a site has registered for other files (binfmt_misc) is not: the
// kernel would start another program than the one that was judged.
func isNative(goarch string, head *[headSize]byte) bool {
	if string(head[:4]) != "\x7fELF" || head[elfData] != 1 || head[elfType+1] != 0 || head[elfType] != 2 && head[elfType] != 3 {
		return false
	}
	machine := uint16(head[elfMachine]) | uint16(head[elfMachine+1])<<8
	for _, m := range machines[goarch] {
		if m == machine {
			return true
		}
	}
	return false
}
