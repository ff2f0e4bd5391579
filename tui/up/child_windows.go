package up

import "syscall"

// ownGroup keeps the terminal's signals away from a part.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
