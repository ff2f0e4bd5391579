// Package canary looks for known bytes where they must not be: in the memory of other
// processes, and in files. It is for tests.
//
// Invariants:
//   - it reports where something was found by name, never the bytes;
//   - it looks at what it can read and says when that is nothing: a search that saw
//     nothing finds nothing.
//
// It must not import any other package of this module.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Needles are bytes to look for, by name. Each has 16 bytes at least.
type Needles map[string][]byte

// Encoded adds hexadecimal and base64 forms, in which bytes get into logs and files.
func (n Needles) Encoded() Needles {
	all := Needles{}
	for name, b := range n {
		all[name] = b
		all[name+" (hex)"] = []byte(hex.EncodeToString(b))
		all[name+" (HEX)"] = bytes.ToUpper(all[name+" (hex)"])
		for skip := range 3 { // how what stands before shifts the letters
			if len(b) > skip+9 {
				whole := (len(b) - skip) / 3 * 3
				text := base64.RawStdEncoding.EncodeToString(b[skip : skip+whole])
				all[fmt.Sprintf("%s (base64, %d)", name, skip)] = []byte(text)
				all[fmt.Sprintf("%s (base64url, %d)", name, skip)] = []byte(strings.NewReplacer("+", "-", "/", "_").Replace(text))
			}
		}
	}
	return all
}

// in counts the needles in b.
func (n Needles) in(b []byte, found map[string]int) {
	for name, needle := range n {
		if c := bytes.Count(b, needle); c > 0 {
			found[name] += c
		}
	}
}

// Memory counts the needles in the memory that a process can write, on Linux. The
// caller must be allowed to trace it.
func Memory(pid int, n Needles) (found map[string]int, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	defer mem.Close()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	defer pages.Close()
	found = map[string]int{}
	const piece, overlap = 1 << 20, 256
	buf := make([]byte, piece+overlap)
	seen := 0
	for line := range strings.Lines(string(maps)) {
		span, rest, _ := strings.Cut(line, " ")
		low, high, _ := strings.Cut(span, "-")
		from, err1 := strconv.ParseUint(low, 16, 63)
		to, err2 := strconv.ParseUint(high, 16, 63)
		if err1 != nil || err2 != nil || !strings.HasPrefix(rest, "rw") {
			continue
		}
		for at := from; at < to; at += piece {
			if !used(pages, at, min(to-at, piece)) {
				continue // reading it would make it
			}
			b := buf[:min(to-at, piece+overlap)]
			read, _ := mem.ReadAt(b, int64(at)) // what is not there holds nothing
			seen += read
			n.in(b[:read], found)
		}
	}
	if seen == 0 {
		return nil, fmt.Errorf("canary: nothing of process %d can be read", pid)
	}
	return found, nil
}

// used reports whether a process has written any page of so many bytes of its memory
// (proc_pid_pagemap(5): present, or swapped).
func used(pages *os.File, at, size uint64) bool {
	page := uint64(os.Getpagesize())
	entries := make([]byte, (size+page-1)/page*8)
	n, _ := pages.ReadAt(entries, int64(at/page*8))
	for i := 7; i < n; i += 8 { // the highest byte of each, which is little endian
		if entries[i]&0xc0 != 0 {
			return true
		}
	}
	return false
}

// Files counts the needles in all regular files below dir, by file and name, and gives
// how many files it has read.
func Files(dir string, n Needles) (found map[string]int, files int, err error) {
	found = map[string]int{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		here := map[string]int{}
		n.in(b, here)
		for name, c := range here {
			found[path+": "+name] = c
		}
		return nil
	})
	if err != nil {
		return nil, files, fmt.Errorf("canary: %w", err)
	}
	return found, files, nil
}
