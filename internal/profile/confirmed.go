package profile

import (
	"encoding/json"
	"path/filepath"
	"slices"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
)

// Confirmed is which machines have signed that they have a roster statement. It is for
// people: nothing rests on it.
type Confirmed struct {
	Seq  uint64 // of the statement
	have map[key.Kid]bool
}

// Has reports whether a machine has confirmed.
func (c *Confirmed) Has(k key.Kid) bool { return c.have[k] }

// Add notes that a machine has.
func (c *Confirmed) Add(k key.Kid) {
	if c.have == nil {
		c.have = map[key.Kid]bool{}
	}
	c.have[k] = true
}

// jsonConfirmed is confirmed.json.
type jsonConfirmed struct {
	Seq  uint64    `json:"seq"`
	Kids []key.Kid `json:"kids"`
}

func (h *Home) confirmedPath() string { return filepath.Join(h.Dir, "confirmed.json") }

// Confirmed gives what this home has seen confirmed of a statement. A file that can't be
// read is as none: it is seen again.
func (h *Home) Confirmed(seq uint64) Confirmed {
	c := Confirmed{Seq: seq}
	var stored jsonConfirmed
	if err := readJSON(h.confirmedPath(), &stored); err != nil || stored.Seq != seq {
		return c
	}
	for _, k := range stored.Kids {
		c.Add(k)
	}
	return c
}

// KeepConfirmed stores it.
func (h *Home) KeepConfirmed(c Confirmed) error {
	stored := jsonConfirmed{Seq: c.Seq, Kids: make([]key.Kid, 0, len(c.have))}
	for k := range c.have {
		stored.Kids = append(stored.Kids, k)
	}
	slices.SortFunc(stored.Kids, func(a, b key.Kid) int { return slices.Compare(a[:], b[:]) })
	b, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	return keyfile.Replace(h.confirmedPath(), append(b, '\n'))
}
