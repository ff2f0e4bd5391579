package claim

import (
	"fmt"
	"slices"
	"syscall"
)

// A Claim is what a caller of execve says that it wants to start.
type Claim struct {
	Path string   // the file's name, as asked for
	Argv []string // as asked for; at least one
	Env  []string // NAME=value

	Dir     string // the caller's folder, as this process sees it
	dir     ID
	root    ID
	checked bool // it only asks whether it might (AT_EXECVE_CHECK)

	// Files are what the kernel will open: the scripts, if it is one, each followed
	// by its interpreter; the last is the program that it will load.
	Files []File
	// Loads are the arguments that the program will get: those of a #! line and the
	// script's name come before the caller's own.
	Loads []string
}

// Program is what the kernel will load.
func (c *Claim) Program() File { return c.Files[len(c.Files)-1] }

// OnlyAsks reports whether the call starts nothing, but asks whether it might.
func (c *Claim) OnlyAsks() bool { return c.checked }

// Equal reports whether two readings of one call say the same, and their files have
// not been written to, linked or renamed in between.
func (c *Claim) Equal(d *Claim) bool {
	return c.Path == d.Path && slices.Equal(c.Argv, d.Argv) && slices.Equal(c.Env, d.Env) && c.Dir == d.Dir &&
		c.dir == d.dir && c.root == d.root && slices.Equal(c.Files, d.Files) && slices.Equal(c.Loads, d.Loads)
}

// An ID names a file on this machine while it exists.
type ID struct{ Dev, Ino uint64 }

// A File is one that was found, with what stat says of it.
type File struct {
	Path string // as this process sees it; where it is no more, as the kernel says so
	ID
	Changed int64 // ctime in nanoseconds: nobody can set it back
	Size    int64
	Mode    uint32 // type and permissions, as st_mode
	UID     uint32
	Links   uint64
}

// A RefusalError says that a program start can't be judged, and so is not one. Errno
// is what its caller gets: where the kernel would refuse too, what the kernel says.
type RefusalError struct {
	Errno syscall.Errno
	Why   string // in words, for the operator
}

func (e *RefusalError) Error() string { return "claim: " + e.Why }

func refusal(errno syscall.Errno, format string, args ...any) error {
	return &RefusalError{errno, fmt.Sprintf(format, args...)}
}

// unreadable is for what the kernel could do and this process can't.
func unreadable(what string, err error) error {
	return refusal(syscall.EACCES, "%s can't be read: %v", what, err)
}
