// Package keyfile stores private keys: one file per key and purpose, mode 0600
// in a directory of mode 0700, written whole or not at all. It is the only
// caller of the SecretText methods of internal/key, which stays free of os.
//
// A file is two lines: a comment that says what the key is for, and the text.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tucdesk/tucdesk/internal/key"
)

// maxSize bounds a key file, in bytes; the largest real one is under 200.
const maxSize = 4096

// Endings of the files beside a key while it is rotated.
const (
	Next = ".next" // accepted already, not used yet
	Old  = ".old"  // accepted still, not used any more
)

// Beside names the files in which a key may be, the one in use first.
func Beside(path string) []string { return []string{path, path + Next, path + Old} }

// ErrNone means a file that is there and holds no key.
var ErrNone = errors.New("keyfile: the file holds no key")

// ErrExposed means a key file that others than its owner may read.
var ErrExposed = errors.New("keyfile: others may read this key; make it private with chmod 600 and consider the key taken")

// Identity loads the identity at path, or makes and stores a new one.
func Identity(path, purpose string) (key.Identity, error) {
	id, err := LoadIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = key.GenerateIdentity(); err != nil {
		return key.Identity{}, err
	}
	return id, save(path, purpose, id.SecretText())
}

// LoadIdentity reads the identity at path.
func LoadIdentity(path string) (key.Identity, error) {
	s, err := load(path)
	if err != nil {
		return key.Identity{}, err
	}
	id, err := key.ParseIdentity(s)
	if err != nil {
		return key.Identity{}, fmt.Errorf("keyfile: %s: %w", path, err)
	}
	return id, nil
}

// Unsealer loads the unsealer at path, or makes and stores a new one.
func Unsealer(path, purpose string) (key.Unsealer, error) {
	u, err := LoadUnsealer(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return u, err
	}
	if u, err = key.GenerateUnsealer(); err != nil {
		return key.Unsealer{}, err
	}
	return u, save(path, purpose, u.SecretText())
}

// LoadUnsealer reads the unsealer at path.
func LoadUnsealer(path string) (key.Unsealer, error) {
	s, err := load(path)
	if err != nil {
		return key.Unsealer{}, err
	}
	u, err := key.ParseUnsealer(s)
	if err != nil {
		return key.Unsealer{}, fmt.Errorf("keyfile: %s: %w", path, err)
	}
	return u, nil
}

func load(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("keyfile: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("keyfile: %w", err)
	}
	if exposed(path, st.Mode()) {
		return "", fmt.Errorf("%w: %s has mode %04o", ErrExposed, path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return "", fmt.Errorf("keyfile: %w", err)
	}
	if len(b) > maxSize {
		return "", fmt.Errorf("keyfile: %s: too large for a key file", path)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	return "", fmt.Errorf("%w: %s", ErrNone, path)
}

// exposed reports whether a file of this mode can be read by others than its
// owner. A credential of systemd (systemd.exec(5), LoadCredential=) belongs to
// root, and an access list lets the service's user read it: the mode of such a
// file shows the list's mask as rights of the group, which is root's.
func exposed(path string, mode fs.FileMode) bool {
	if runtime.GOOS == "windows" {
		return false
	}
	allowed := fs.FileMode(0o700)
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		allowed = 0o440
	}
	return mode.Perm()&^allowed != 0
}

// save writes a new file, never over an existing one: a lost key can't be had
// again.
func save(path, purpose, secret string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keyfile: %w", err)
	}
	f, err := os.CreateTemp(dir, ".key-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("keyfile: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "# TucDesk private key: %s. Keep it secret; whoever reads it is you.\n%s\n", purpose, secret)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if err == nil {
		err = SyncFolder(dir)
	}
	if err != nil {
		return fmt.Errorf("keyfile: store %s: %w", purpose, err)
	}
	return nil
}

// Replace writes a whole new file in place of path, durably, for its owner only:
// for state that holds a secret and changes, where save is for keys, which never
// do.
func Replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("keyfile: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("keyfile: %w", err)
	}
	return nil
}

// SyncFolder makes new names in a folder durable, where the system can.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
