package ledger

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"
)

// memDisk is a folder in memory that knows what would survive a power cut:
// bytes that were synced, under names that were synced.
type memDisk struct {
	files map[string]*memInode
	// fail makes the n-th call that changes something fail (counted from 1).
	// after: the call does its work first, and then its answer is lost.
	fail  int
	after bool
	calls int
	short bool // failing writes leave half of their bytes
}

type memInode struct {
	live, synced []byte
}

func newMemDisk() *memDisk { return &memDisk{files: map[string]*memInode{}} }

// crash gives the folder after a power cut: synced content only. torn bytes of
// each unsynced write may survive too.
func (d *memDisk) crash(torn bool) *memDisk {
	c := newMemDisk()
	for name, f := range d.files {
		b := slices.Clone(f.synced)
		if torn && len(f.live) > len(f.synced) {
			b = append(b, f.live[len(f.synced):len(f.synced)+(len(f.live)-len(f.synced))/2]...)
		}
		c.files[name] = &memInode{live: b, synced: slices.Clone(b)}
	}
	return c
}

// kill gives the folder after kill -9: everything written is there.
func (d *memDisk) kill() *memDisk {
	c := newMemDisk()
	for name, f := range d.files {
		c.files[name] = &memInode{live: slices.Clone(f.live), synced: slices.Clone(f.live)}
	}
	return c
}

var errDisk = errors.Join(errors.New("injected"), syscall.ENOSPC)

// do runs one changing call with the fault that is due.
func (d *memDisk) do(work func(), half func()) error {
	d.calls++
	if d.fail == 0 || d.calls != d.fail {
		work()
		return nil
	}
	switch {
	case d.after:
		work()
	case d.short && half != nil:
		half()
	}
	return errDisk
}

func (d *memDisk) Open(name string) (File, int64, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return &memFile{d, f}, int64(len(f.live)), nil
}

func (d *memDisk) Create(name string) (File, error) {
	f := &memInode{}
	if err := d.do(func() { d.files[name] = f }, nil); err != nil {
		return nil, err
	}
	return &memFile{d, f}, nil
}

func (d *memDisk) Rename(from, to string) error {
	return d.do(func() {
		d.files[to] = d.files[from]
		delete(d.files, from)
	}, nil)
}

func (d *memDisk) Remove(name string) error {
	return d.do(func() { delete(d.files, name) }, nil)
}

func (d *memDisk) List() ([]string, error) { return slices.Sorted(maps.Keys(d.files)), nil }

type memFile struct {
	d *memDisk
	f *memInode
}

func (m *memFile) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(m.f.live)) {
		return 0, io.EOF
	}
	n := copy(b, m.f.live[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memFile) WriteAt(b []byte, off int64) (int, error) {
	write := func(b []byte) {
		if end := int(off) + len(b); end > len(m.f.live) {
			m.f.live = append(m.f.live, make([]byte, end-len(m.f.live))...)
		}
		copy(m.f.live[off:], b)
	}
	err := m.d.do(func() { write(b) }, func() { write(b[:len(b)/2]) })
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (m *memFile) Sync() error {
	return m.d.do(func() { m.f.synced = slices.Clone(m.f.live) }, nil)
}

func (m *memFile) Truncate(size int64) error {
	return m.d.do(func() { m.f.live = m.f.live[:size] }, nil)
}

func (m *memFile) Close() error { return nil }
