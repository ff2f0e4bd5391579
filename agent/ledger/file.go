package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is the part of os.File that the ledger needs.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Close() error
}

// A Disk opens, replaces and makes durable the files of one folder. Names are
// plain file names. Tests inject faults here.
type Disk interface {
	// Open opens an existing file and tells its size; fs.ErrNotExist if none.
	Open(name string) (File, int64, error)
	// Create makes an empty file, over an existing one.
	Create(name string) (File, error)
	// Rename replaces to by from and returns when the folder is synced.
	Rename(from, to string) error
	// Remove removes a file, and returns when the folder is synced. None is no error.
	Remove(name string) error
	// List gives the names of all files.
	List() ([]string, error)
}

// osDisk is the real folder.
type osDisk struct{ dir string }

func (d osDisk) Open(name string) (File, int64, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("ledger: %s is not a regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

func (d osDisk) Create(name string) (File, error) {
	return os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (d osDisk) Rename(from, to string) error {
	if err := os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to)); err != nil {
		return err
	}
	return d.sync()
}

func (d osDisk) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d osDisk) Remove(name string) error {
	if err := os.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync()
}

func (d osDisk) List() (names []string, err error) {
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// replace writes a file whole or not at all, and returns it open.
func replace(d Disk, name string, content []byte) (File, error) {
	tmp := name + ".new"
	f, err := d.Create(tmp)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.Rename(tmp, name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read opens a file of at most max bytes and reads it whole. A missing file is
// a nil File and no error.
func read(d Disk, name string, max int64) (File, []byte, error) {
	f, size, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if size > max {
		f.Close()
		return nil, nil, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrDamaged, name, size, max)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		f.Close()
		return nil, nil, fmt.Errorf("ledger: read %s: %w", name, err)
	}
	return f, b, nil
}
