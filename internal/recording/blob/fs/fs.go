// Package fs is a blob.Store in a folder. Nothing outside of the folder is
// reached, whatever links lie in it. Files are for their owner only.
//
// It must not import a service package.
package fs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/tucdesk/tucdesk/internal/recording/blob"
)

// A Store keeps each object in a file of its name.
type Store struct{ root *os.Root }

var _ blob.Store = (*Store)(nil)

// Open opens the folder, making it with mode 0700 where it is missing.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return &Store{root}, nil
}

// Close gives the folder back.
func (s *Store) Close() error { return s.root.Close() }

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	dir := path.Dir(name)
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	// No object's name begins with a dot.
	tmp := path.Join(dir, ".new-"+rand.Text())
	f, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	err = fill(ctx, f, r, size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("blob: %w", err), s.root.Remove(tmp))
	}
	return s.sync(dir)
}

func fill(ctx context.Context, f *os.File, r io.Reader, size int64) error {
	n, err := io.Copy(f, io.LimitReader(r, size+1))
	switch {
	case err != nil:
		return err
	case n != size:
		return fmt.Errorf("%w: %d bytes were announced", blob.ErrSize, size)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return f.Sync()
}

// sync makes the names of a folder, and of those above it, durable.
func (s *Store) sync(dir string) error {
	for ; ; dir = path.Dir(dir) {
		f, err := s.root.Open(dir)
		if err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		if dir == "." {
			return nil
		}
	}
}

// Get implements blob.Store.
func (s *Store) Get(_ context.Context, name string) (io.ReadCloser, int64, error) {
	f, size, err := s.open(name)
	if err != nil {
		return nil, 0, err
	}
	return f, size, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, name string) (int64, error) {
	f, size, err := s.open(name)
	if err != nil {
		return 0, err
	}
	return size, f.Close()
}

func (s *Store) open(name string) (*os.File, int64, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %s", blob.ErrNotFound, name)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("blob: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s", blob.ErrNotFound, name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}
