package profile

import (
	"crypto/sha256"
	"encoding/json"
	"path/filepath"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
)

// maxApproved bounds what a home remembers of approved files; the oldest go first.
const maxApproved = 2000

// An ApprovedFile is what a file of a machine held when this device last approved it.
type ApprovedFile struct {
	Hash envelope.Hash `json:"hash"` // SHA-256 of its content
	At   time.Time     `json:"at"`
}

// Approved is what this device has approved of machines' files, so that it can say what
// has changed. It is for people: nothing rests on it. No path is in it, only a hash of
// each.
type Approved map[envelope.Hash]ApprovedFile

func fileOf(agent key.Kid, path string) envelope.Hash {
	return sha256.Sum256(append(agent[:], path...))
}

// Last gives what a file held when it was last approved here.
func (a Approved) Last(agent key.Kid, path string) (ApprovedFile, bool) {
	f, ok := a[fileOf(agent, path)]
	return f, ok
}

// Add notes what a file holds that is approved.
func (a Approved) Add(agent key.Kid, path string, hash envelope.Hash, at time.Time) {
	a[fileOf(agent, path)] = ApprovedFile{hash, at.UTC().Truncate(time.Second)}
	for len(a) > maxApproved {
		var oldest envelope.Hash
		for k, f := range a {
			if oldest.IsZero() || f.At.Before(a[oldest].At) {
				oldest = k
			}
		}
		delete(a, oldest)
	}
}

func (h *Home) approvedPath() string { return filepath.Join(h.Dir, "approved.json") }

// Approved reads it. A file that can't be read is as none.
func (h *Home) Approved() Approved {
	a := Approved{}
	if err := readJSON(h.approvedPath(), &a); err != nil || a == nil {
		return Approved{}
	}
	return a
}

// KeepApproved stores it.
func (h *Home) KeepApproved(a Approved) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return keyfile.Replace(h.approvedPath(), append(b, '\n'))
}
