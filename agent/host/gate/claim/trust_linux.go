package claim

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// othersWrite are the permissions of others than the owner to write.
const othersWrite = unix.S_IWGRP | unix.S_IWOTH

// IsWritable reports whether somebody other than root can write the file, or has made
// it what it is: by its owner and permissions, and those of each folder above it. What
// has no name any more, or not that one, counts as written by others.
func (f File) IsWritable() bool {
	if f.UID != 0 || f.Mode&othersWrite != 0 || !filepath.IsAbs(f.Path) {
		return true
	}
	var st unix.Stat_t
	if unix.Lstat(f.Path, &st) != nil || f.ID != (ID{st.Dev, st.Ino}) {
		return true // it has no such name, or not here
	}
	for dir := f.Path; dir != "/"; {
		dir = filepath.Dir(dir)
		if unix.Lstat(dir, &st) != nil || st.Uid != 0 || st.Mode&othersWrite != 0 {
			return true
		}
	}
	return false
}

// systemDirs are where a system has its programs.
var systemDirs = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// maxKnown bounds the names that are remembered.
const maxKnown = 256

// known are names of files with several, by the file as it was.
var known = struct {
	sync.Mutex
	names map[File][]string
}{names: map[File][]string{}}

// Names gives the base names in system folders that are this same file: a file with
// several links has several.
func (f File) Names() []string {
	if f.Links < 2 {
		return nil
	}
	known.Lock()
	defer known.Unlock()
	if names, ok := known.names[f]; ok {
		return names
	}
	var names []string
	for _, dir := range systemDirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			var st unix.Stat_t
			if unix.Lstat(filepath.Join(dir, e.Name()), &st) == nil && f.ID == (ID{st.Dev, st.Ino}) {
				names = append(names, e.Name())
			}
		}
	}
	if len(known.names) >= maxKnown {
		clear(known.names)
	}
	known.names[f] = names
	return names
}
