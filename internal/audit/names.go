package audit

import (
	"errors"
	"fmt"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// ErrName means an entry that gives a key another name than the roster does. People read
// names: an entry that says one person's key and another one's name is a forged one.
var ErrName = errors.New("audit: it names a key otherwise than the roster does")

// ownName is the only name of keys of servers.
const ownName = "apid"

// NameOf gives the one name that entries may give a key: a member's e-mail address, a
// machine's name, "apid" for keys of servers; "" for keys that the roster never held.
// None of them ever changes.
func NameOf(r *roster.Roster, k key.Kid) string {
	if d, ok := r.EverDevice(k); ok {
		return d.Email
	}
	if a, ok := r.EverAgent(k); ok {
		return a.Name
	}
	if _, ok := r.Key(k); ok {
		return ownName
	}
	return ""
}

// CheckNames answers ErrName unless the entry names its parties as the roster does, or
// leaves their names out.
func (e Entry) CheckNames(r *roster.Roster) error {
	for _, p := range []Party{e.Actor, e.Target} {
		if p.Name != "" && p.Name != NameOf(r, p.Kid) {
			return fmt.Errorf("%w: %q for %s", ErrName, p.Name, p.Kid.Short())
		}
	}
	return nil
}
