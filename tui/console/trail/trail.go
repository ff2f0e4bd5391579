// Package trail remembers what the console has done last, for the report of a crash.
//
// Invariants: names are those of the program, of actions and of messages' types; what
// they hold is never in it. It is bounded. It must not import anything of this module.
package trail

import "slices"

// maxNames is how many names are kept.
const maxNames = 40

// A Trail is the newest names, the newest last. The zero value is empty.
type Trail struct{ Names []string }

// Add adds a name, unless it is empty or the newest already.
func (t *Trail) Add(name string) {
	if name == "" || len(t.Names) > 0 && t.Names[len(t.Names)-1] == name {
		return
	}
	if len(t.Names) == maxNames {
		t.Names = slices.Delete(t.Names, 0, 1)
	}
	t.Names = append(t.Names, name)
}
