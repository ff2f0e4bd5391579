package drills

import (
	"slices"
	"strings"
	"testing"
)

// A drill is one attack by one part that was taken over.
type drill struct {
	part    part
	name    string
	promise string // what must not happen
	attack  string // what the part does
	shows   string // is part of what the honest side says
	check   check
	play    func(*world) string // gives what the honest side says
}

// A part is what the attacker has.
type part string

const (
	malApid     part = "apid"
	malDatabase part = "database"
	malNetwork  part = "network"
)

// A check is what a drill is about: the lines that stop the attack. In a build
// with them replaced the drill must fail, and then says what still held.
type check struct {
	file, in string // where, below the module; the function
	old, new string
	then     string // what comes of the attack without it
	// inherent says why there is nothing to remove.
	inherent string
}

// id is the drill's name as a subtest.
func (d *drill) id() string { return string(d.part) + "/" + strings.ReplaceAll(d.name, " ", "-") }

func drills() []*drill {
	return slices.Concat(rosterDrills(), grantDrills(), approvalDrills(), logDrills(), databaseDrills(), networkDrills())
}

func TestDrills(t *testing.T) {
	names := map[string]bool{}
	for _, d := range drills() {
		id := d.id()
		if names[id] || d.promise == "" || d.attack == "" || d.shows == "" || (d.check.then == "") == (d.check.inherent == "") {
			t.Fatalf("%s: a drill needs a name of its own, a promise, an attack, what is shown, and what the check is for", id)
		}
		names[id] = true
		t.Run(id, func(t *testing.T) {
			w := newWorld(t, d)
			said := d.play(w)
			w.verdict()
			if !strings.Contains(said, d.shows) {
				t.Errorf("NOT SHOWN: %q\nsaid: %s", d.shows, said)
			}
			if t.Failed() {
				t.Logf("apid:\n%s", w.apidLogs.String())
				for _, m := range w.machines {
					t.Logf("%s:\n%s", m.name, m.logs.String())
				}
			}
		})
	}
}
