package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/recording/blob"
	"github.com/tucdesk/tucdesk/internal/recording/blob/blobtest"
	"github.com/tucdesk/tucdesk/internal/recording/blob/fs"
)

func open(t *testing.T, dir string) *fs.Store {
	t.Helper()
	s, err := fs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSuite(t *testing.T) {
	blobtest.Run(t, open(t, filepath.Join(t.TempDir(), "a", "b")))
}

func TestFilesArePrivateAndInside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Put(t.Context(), "a/b", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "a", "b"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "out/hostname"); err == nil {
		t.Error("a link leads out of the folder")
	}
	if err := s.Put(t.Context(), "out/x", strings.NewReader("x"), 1); err == nil {
		t.Error("a link leads out of the folder")
	}
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a folder is an object: %v", err)
	}
	// A put that fails leaves nothing behind.
	if err := s.Put(t.Context(), "a/c", strings.NewReader("short"), 10); !errors.Is(err, blob.ErrSize) {
		t.Errorf("short: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "a"))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}
