// Package marks is what apid remembers of each team's log outside the database:
// the largest checkpoint that its key has signed. A database that is older than
// that was set back, by a restore or by whoever holds it. Then the log must sign
// nothing more: it would give two answers to one question, and everybody who
// has kept the first could call it a liar.
//
// A mark may lag behind by what was signed in the last seconds before a crash; it
// is never ahead.
//
// The package must not import internal/store or a database driver.
package marks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
)

// ErrSetBack means a log that does not hold what its key has signed.
var ErrSetBack = errors.New("marks: the log in the database is older than what was signed")

// maxFile bounds the file, in bytes: some hundred for each team.
const maxFile = 64 << 20

// A mark is one checkpoint.
type mark struct {
	Team string    `json:"team"` // for who reads the file
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
	Run  int       `json:"run,omitempty"` // restarts of the log that admins had signed
}

// A Book keeps the marks of all teams. It is safe for concurrent use.
type Book struct {
	file string

	mu      sync.Mutex
	logs    map[string]mark // by origin
	changed bool
}

// Open reads the book in a file, which need not be there yet; where it can't be
// written is found now. An empty name is a book in memory.
func Open(file string) (*Book, error) {
	b := &Book{file: file, logs: map[string]mark{}}
	if file == "" {
		return b, nil
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		b.changed = true
		return b, b.Save()
	}
	if err != nil {
		return nil, fmt.Errorf("marks: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("marks: %s is longer than %d bytes", file, maxFile)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("marks: %w", err)
	}
	if err := json.Unmarshal(text, &b.logs); err != nil {
		return nil, fmt.Errorf("marks: %s: %w; it is apid's memory of what it has signed: bring it back from a copy, or remove it if the database is known to be the newest", file, err)
	}
	return b, nil
}

// Largest gives how many entries the largest checkpoint covers that was signed for a team.
func (b *Book) Largest(teamFP envelope.Hash) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logs[audit.Origin(teamFP)].Size
}

// Check refuses, with ErrSetBack, a team's log that lacks what was signed, but for what the
// team's admins have let it lose: restarts are those of the roster beside it.
func (b *Book) Check(teamFP envelope.Hash, restarts []audit.Checkpoint, log audit.Storage) error {
	b.mu.Lock()
	m, ok := b.logs[audit.Origin(teamFP)]
	b.mu.Unlock()
	if !ok {
		return nil
	}
	if m.Run > len(restarts) {
		return b.setBack(m, "its roster lacks a restart that admins have signed")
	}
	c := audit.Checkpoint{Origin: audit.Origin(teamFP), Size: m.Size, Root: m.Root}.Lift(restarts, m.Run, len(restarts))
	m.Size, m.Root = c.Size, c.Root
	size, note, err := log.Checkpoint()
	if err != nil {
		return err
	}
	if size < m.Size {
		return b.setBack(m, fmt.Sprintf("it has %d entries and had %d", size, m.Size))
	}
	var root tlog.Hash
	if size == m.Size {
		var c audit.Checkpoint
		c, err = audit.InsecureCheckpoint(note) // Log.Sign compares it with the tree
		root = c.Root
	} else {
		root, err = tlog.TreeHash(m.Size, log) // another apid went on
	}
	if err != nil {
		return err
	}
	if root != m.Root {
		return b.setBack(m, fmt.Sprintf("its first %d entries are not those that were signed", m.Size))
	}
	return nil
}

func (b *Book) setBack(m mark, how string) error {
	return fmt.Errorf("%w: team %s: %s. Restore the newest backup; if there is no newer one, the team's admins let the log go on from the older state: tucdesk audit restart --reason WHY",
		ErrSetBack, m.Team, how)
}

// Signed remembers a checkpoint that was signed for a team, after so many restarts of its
// log, and is stored for good.
func (b *Book) Signed(team string, run int, checkpoint []byte) error {
	c, err := audit.InsecureCheckpoint(checkpoint)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.logs[c.Origin]; m.Run < run || m.Run == run && m.Size < c.Size {
		b.logs[c.Origin], b.changed = mark{team, c.Size, c.Root, run}, true
	}
	return nil
}

// Save writes the book to its file, whole or not at all, if it has changed.
func (b *Book) Save() error {
	b.mu.Lock()
	if b.file == "" || !b.changed {
		b.mu.Unlock()
		return nil
	}
	text, err := json.MarshalIndent(b.logs, "", "  ")
	b.changed = false
	b.mu.Unlock()
	if err == nil {
		err = write(b.file, append(text, '\n'))
	}
	if err != nil {
		b.mu.Lock()
		b.changed = true
		b.mu.Unlock()
		return fmt.Errorf("marks: %w", err)
	}
	return nil
}

func write(file string, text []byte) error {
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
