package filecopy

import "path/filepath"

const nonblock = 0

// isLocal keeps names out that mean something else to the system.
func isLocal(name string) bool { return filepath.IsLocal(name) && filepath.Base(name) == name }
