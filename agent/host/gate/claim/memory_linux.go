package claim

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

const (
	// maxArguments bounds arguments and variables together, in bytes, with their
	// pointers: what the kernel takes where stacks have their common size.
	maxArguments = 2 << 20
	// pageSize is the smallest page of a kernel: what begins in one can be read to
	// its end.
	pageSize = 4096
	// firstBytes is how much of each string is read at first: most are shorter.
	firstBytes = 128
	// maxParts is what process_vm_readv takes (IOV_MAX).
	maxParts = 1024
)

// errTooBig is E2BIG as the kernel would answer it.
var errTooBig = refusal(unix.E2BIG, "its arguments and variables are larger than %d KiB", maxArguments>>10)

// memory is that of a sleeping caller.
type memory struct {
	tid  int
	word int // bytes of a pointer
	left int // of maxArguments
}

// read fills buffers from addresses, all or nothing.
func (m *memory) read(local [][]byte, at []uint64) error {
	for len(local) > 0 {
		n := min(len(local), maxParts)
		iov, remote := make([]unix.Iovec, n), make([]unix.RemoteIovec, n)
		want := 0
		for i, b := range local[:n] {
			iov[i].Base = &b[0]
			iov[i].SetLen(len(b))
			remote[i] = unix.RemoteIovec{Base: uintptr(at[i]), Len: len(b)}
			want += len(b)
		}
		got, err := unix.ProcessVMReadv(m.tid, iov, remote, 0)
		if err != nil {
			return fault(err)
		}
		if got != want {
			return refusal(unix.EFAULT, "its memory ends where an argument should be")
		}
		local, at = local[n:], at[n:]
	}
	return nil
}

func fault(err error) error {
	if errors.Is(err, unix.EFAULT) || errors.Is(err, unix.ESRCH) {
		return refusal(err.(unix.Errno), "its memory can't be read")
	}
	return unreadable("its memory", err)
}

// toPageEnd cuts a length so that a page's end is not crossed.
func toPageEnd(at uint64, n int) int {
	return min(n, pageSize-int(at%pageSize))
}

// take counts bytes against the bound.
func (m *memory) take(n int) error {
	if m.left -= n; m.left < 0 {
		return errTooBig
	}
	return nil
}

// text reads one string.
func (m *memory) text(at uint64) (string, error) {
	s, err := m.texts([]uint64{at})
	if err != nil {
		return "", err
	}
	return s[0], nil
}

// texts reads strings: their first bytes at once, and what is longer one by one.
func (m *memory) texts(at []uint64) ([]string, error) {
	buf := make([]byte, 0, len(at)*firstBytes)
	local := make([][]byte, len(at))
	for i, a := range at {
		n := toPageEnd(a, firstBytes)
		local[i] = buf[len(buf) : len(buf)+n]
		buf = buf[:len(buf)+n]
	}
	if err := m.read(local, at); err != nil {
		return nil, err
	}
	out := make([]string, len(at))
	for i, b := range local {
		if end := bytes.IndexByte(b, 0); end >= 0 {
			out[i] = string(b[:end])
		} else {
			rest, err := m.rest(at[i]+uint64(len(b)), maxArguments)
			if err != nil {
				return nil, err
			}
			out[i] = string(b) + rest
		}
		if err := m.take(len(out[i]) + 1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rest reads a string's end, page by page.
func (m *memory) rest(at uint64, limit int) (string, error) {
	var out []byte
	for len(out) < limit {
		n := toPageEnd(at, pageSize)
		chunk := make([]byte, n)
		if err := m.read([][]byte{chunk}, []uint64{at}); err != nil {
			return "", err
		}
		if end := bytes.IndexByte(chunk, 0); end >= 0 {
			return string(append(out, chunk[:end]...)), nil
		}
		out, at = append(out, chunk...), at+uint64(n)
	}
	return "", errTooBig
}

// list reads the strings of a vector of pointers that ends with a null. A vector at
// null is empty, as the kernel takes it.
func (m *memory) list(at uint64) ([]string, error) {
	if at == 0 {
		return nil, nil
	}
	var pointers []uint64
	for {
		n := toPageEnd(at, 64*m.word) / m.word * m.word
		if n == 0 {
			n = m.word // one that crosses a page's end
		}
		chunk := make([]byte, n)
		if err := m.read([][]byte{chunk}, []uint64{at}); err != nil {
			return nil, err
		}
		at += uint64(n)
		for i := 0; i < n; i += m.word {
			p := uint64(binary.LittleEndian.Uint32(chunk[i:]))
			if m.word == 8 {
				p = binary.LittleEndian.Uint64(chunk[i:])
			}
			if p == 0 {
				return m.texts(pointers)
			}
			pointers = append(pointers, p)
		}
		if err := m.take(n); err != nil {
			return nil, err
		}
	}
}
