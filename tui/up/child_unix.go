//go:build unix

package up

import "syscall"

// ownGroup keeps the terminal's signals away from a part.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
