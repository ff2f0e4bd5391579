package claim

import (
	"slices"
	"strings"
	"testing"
)

func head(s string) (h [headSize]byte) {
	copy(h[:], s)
	return h
}

func TestInterpreter(t *testing.T) {
	long := strings.Repeat("x", 400)
	for line, want := range map[string][]string{
		"#!/bin/sh\n":                        {"/bin/sh"},
		"#!/bin/sh":                          {"/bin/sh"},
		"#! \t/bin/sh \t-e -x \n":            {"/bin/sh", "-e -x"},
		"#!/bin/sh ":                         {"/bin/sh", ""},
		"#!/bin/sh \n":                       {"/bin/sh"},
		"#!\x00":                             {""},
		"#!/bin/sh -e":                       {"/bin/sh", "-e"},
		"#!/bin/sh\x00 -e\n":                 {"/bin/sh"},
		"#!/bin/sh a\x00b\n":                 {"/bin/sh", "a"},
		"#!/bin/sh\r\n":                      {"/bin/sh\r"},
		"#!/bin/sh " + long:                  {"/bin/sh", long[:headSize-len("#!/bin/sh ")-1]},
		"#!/" + long:                         nil,
		"#!/" + long + "\n":                  nil,
		"#!\n":                               nil,
		"#! \t\n":                            nil,
		"#!" + strings.Repeat(" ", headSize): nil,
		"# !/bin/sh\n":                       nil,
		"":                                   nil,
		"\x7fELF":                            nil,
	} {
		h := head(line)
		if got := interpreter(&h); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%.40q: %q", line, got)
		}
	}
}

// Whatever a file begins with: a name and an argument are single C strings of its first
// line, and the name is one word.
func FuzzInterpreter(f *testing.F) {
	for _, s := range []string{"#!/bin/sh -e\n", "#! \t/usr/bin/env\tpython3 -u", "#!", "#!\x00", "#!/bin/sh\x00x\ny"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := head(string(b))
		loads := interpreter(&h)
		for i, word := range loads {
			if i > 1 || strings.ContainsAny(word, "\x00\n") || i == 0 && strings.ContainsAny(word, " \t") || strings.HasPrefix(word, " ") {
				t.Fatalf("%q", loads)
			}
			if !strings.Contains(string(h[:]), word) {
				t.Fatalf("%q is not in the file", word)
			}
		}
	})
}

func TestNative(t *testing.T) {
	elf := func(class, data, kind byte, machine uint16) *[headSize]byte {
		h := head("\x7fELF")
		h[4], h[5], h[16], h[18], h[19] = class, data, kind, byte(machine), byte(machine>>8)
		return &h
	}
	for _, tc := range []struct {
		goarch string
		head   *[headSize]byte
		want   bool
	}{
		{"amd64", elf(2, 1, 3, 62), true},
		{"amd64", elf(2, 1, 2, 62), true},
		{"amd64", elf(1, 1, 2, 3), true},
		{"amd64", elf(2, 1, 1, 62), false},  // an object
		{"amd64", elf(2, 2, 3, 62), false},  // big endian
		{"amd64", elf(2, 1, 3, 183), false}, // arm64
		{"arm64", elf(2, 1, 3, 183), true},
		{"arm64", elf(1, 1, 2, 40), true},
		{"arm64", elf(2, 1, 3, 62), false},
		{"riscv64", elf(2, 1, 3, 243), false},
	} {
		if got := isNative(tc.goarch, tc.head); got != tc.want {
			t.Errorf("%s %v: %v", tc.goarch, tc.head[:20], got)
		}
	}
}
