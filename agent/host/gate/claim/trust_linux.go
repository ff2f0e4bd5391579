package claim

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// others may write, by permission.
const othersWrite = unix.S_IWGRP | unix.S_IWOTH

// IsTrusted reports whether only root could have made the file what it is: it is
// linked, owned by root and written to by nobody else, and so is each folder above it.
// A copy in somebody's home, a file in memory and a file that was removed are not.
func (f File) IsTrusted() bool {
	if f.Links == 0 || f.UID != 0 || f.Mode&othersWrite != 0 || !filepath.IsAbs(f.Path) {
		return false
	}
	var st unix.Stat_t
	if unix.Lstat(f.Path, &st) != nil || f.ID != (ID{st.Dev, st.Ino}) {
		return false // it has no such name, or not here
	}
	for dir := f.Path; dir != "/"; {
		dir = filepath.Dir(dir)
		if unix.Lstat(dir, &st) != nil || st.Uid != 0 || st.Mode&othersWrite != 0 {
			return false
		}
	}
	return true
}
