//go:build unix

package link

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// maxPath is what fits into the name of a socket everywhere, in bytes.
const maxPath = 100

// short gives a name for a socket that fits, and what keeps it good until it is closed.
func short(name string) (string, *os.File, error) {
	if len(name) <= maxPath {
		return name, nil, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("link: %s is too long for a socket's name; use a folder with a shorter one", name)
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(name)), dir, nil
}

// DialLocal comes to a local socket from a process that was started in its folder.
func DialLocal(name string) (*net.UnixConn, error) {
	if len(name) > maxPath {
		name = filepath.Base(name)
	}
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
}

// ListenLocal makes a local socket for this user alone, anew: whoever had it must be gone.
func ListenLocal(name string) (*net.UnixListener, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("link: %w", err)
	}
	address, dir, err := short(name)
	if err != nil {
		return nil, err
	}
	if dir != nil {
		defer dir.Close()
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l.SetUnlinkOnClose(false) // the name that it knows may be one of a moment
	if err := os.Chmod(name, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	return l, nil
}
