package cage

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readable is all of the file system that a network half reads: how names are
// resolved and which authorities sign certificates.
var readable = []string{
	"/etc", "/usr/share", "/usr/local/share", "/var/lib/ca-certificates", "/run/systemd/resolve", "/run/resolvconf",
}

// cage is a Landlock ruleset for the network half: it reads what is readable, runs
// no program but this one, and writes nothing, whoever it runs as. -1: this kernel
// has no Landlock.
func cage(exe string) (ruleset int, err error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return -1, nil
	}
	handled := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1) // the first version's, up to its last
	if abi >= 2 {
		handled |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		handled |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	// Older kernels know fewer fields, and take more if they are zero.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Offsetof(attr.Quiet_access_fs), 0)
	if errno != 0 {
		return -1, fmt.Errorf("landlock: %w", errno)
	}
	ruleset = int(fd)
	// crypto/x509 looks for authorities where these say.
	authorities := append([]string{os.Getenv("SSL_CERT_FILE")}, filepath.SplitList(os.Getenv("SSL_CERT_DIR"))...)
	for _, dir := range slices.Concat(readable, authorities) {
		if dir == "" {
			continue
		}
		err := allow(ruleset, dir, look)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			unix.Close(ruleset)
			return -1, err
		}
	}
	programs := []string{exe}
	if loader := loaderOf(exe); loader != "" {
		programs = append(programs, loader)
		// What the loader loads.
		for _, dir := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"} {
			_ = allow(ruleset, dir, unix.LANDLOCK_ACCESS_FS_READ_FILE)
		}
	}
	for _, p := range programs {
		if err := allow(ruleset, p, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_EXECUTE); err != nil {
			unix.Close(ruleset)
			return -1, err
		}
	}
	return ruleset, nil
}

// look is to read files and folders.
const look = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR

// allow lets a file, or all below a folder, be used.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &^= unix.LANDLOCK_ACCESS_FS_READ_DIR // of no file
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %s: %w", path, errno)
	}
	return nil
}

// loaderOf gives the program that a dynamically linked program is loaded by.
func loaderOf(exe string) string {
	f, err := elf.Open(exe)
	if err != nil {
		return ""
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, _ := io.ReadAll(io.LimitReader(p.Open(), unix.PathMax))
			return strings.TrimRight(string(b), "\x00")
		}
	}
	return ""
}
