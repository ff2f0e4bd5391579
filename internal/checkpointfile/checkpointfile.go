// Package checkpointfile keeps the newest signed checkpoint of a team's audit log
// that a device or an agent has seen, and holds every other one against it: two
// checkpoints of one log are the same, or one extends the other, and a proof shows
// it (trust.md 4.4). What can't be shown is an alarm, and both notes are kept.
//
//	newest-R     the newest checkpoint, a C2SP signed note; R counts the restarts of
//	             the log that were known when it was taken
//	open-R-…     one that could not be compared yet: nobody could be asked
//	fork-…       evidence: two checkpoints that do not fit, with the day and from whom
//
// What it keeps is durable before it is used, and never goes back. Several processes
// may share the folder. A newest-R file is what `tucdesk audit verify --prev` takes.
//
// It asks nobody by itself: whoever calls it brings the proofs. It must not import a
// client.
package checkpointfile

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
)

// maxKept bounds the checkpoints that wait to be compared, and the pieces of
// evidence, each: the first ones say it all.
const maxKept = 16

var (
	// ErrUnsigned means a checkpoint that no key of the log has signed, or that
	// is none. It is evidence of nothing.
	ErrUnsigned = errors.New("checkpointfile: not a checkpoint that this team's log has signed")
	// ErrAway is wrapped by a Prover that could not ask: the question stays open.
	ErrAway = errors.New("checkpointfile: whether the log only grew could not be asked")
)

// A ForkError says that two checkpoints, both signed by the log, are not of one log
// that only grew.
type ForkError struct {
	From         string // who has shown the second
	Ours, Theirs audit.Checkpoint
	Why          string
	File         string // where both notes are kept
	New          bool   // they were not before
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("the audit log tells two stories: of %d entries to this side, and of %d to %s (%s). Both signed checkpoints are kept in %s: show them to the admins and auditors of your team",
		e.Ours.Size, e.Theirs.Size, e.From, e.Why, e.File)
}

// A Prover gives the proof that the log of newer entries extends that of older. An
// error that wraps ErrAway leaves it open; any other is a refusal, and so an alarm.
type Prover func(ctx context.Context, older, newer int64) (tlog.TreeProof, error)

// A Log is what a roster says about a team's audit log, and who can be asked about it.
type Log struct {
	TeamFP envelope.Hash
	Keys   []key.Public // that the log has ever had
	// Restarts are the states from which the log was let go on, in order.
	Restarts []audit.Checkpoint
	Prove    Prover
}

// A Seen is one checkpoint from somebody.
type Seen struct {
	Note []byte // C2SP signed note; empty: nothing was seen
	Run  int    // restarts of the log that whoever has shown it knew of
	From string // in words, for people
}

// A File is an opened folder. It is safe for concurrent use.
type File struct{ dir string }

// Open opens the folder, and makes it where there is none.
func Open(dir string) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("checkpointfile: %w", err)
	}
	return &File{dir}, nil
}

// Newest gives the newest checkpoint and the restarts that were known with it; nil
// before the first.
func (f *File) Newest() (note []byte, run int, err error) {
	names, err := f.names("newest-")
	if err != nil {
		return nil, 0, err
	}
	found := ""
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "newest-")); err == nil && n >= run {
			found, run = name, n
		}
	}
	if found == "" {
		return nil, 0, nil
	}
	note, err = f.read(found)
	if errors.Is(err, fs.ErrNotExist) {
		return f.Newest() // a newer run's has taken its place
	}
	return note, run, err
}

// Meet holds a checkpoint that somebody has shown against the newest one, and takes
// it in its place if it is newer. The first one ever is taken. A *ForkError is an
// alarm; ErrAway is wrapped where the question stays open, for Reopen.
func (f *File) Meet(ctx context.Context, log Log, s Seen) error {
	if len(s.Note) == 0 {
		return nil
	}
	theirs, err := audit.VerifyCheckpoint(s.Note, log.TeamFP, log.Keys...)
	if err != nil {
		return fmt.Errorf("%w: from %s: %w", ErrUnsigned, s.From, err)
	}
	for {
		ours, run, err := f.Newest()
		if err != nil {
			return err
		}
		if err := f.compare(ctx, log, ours, run, theirs, s); err != nil {
			return err
		}
		done, err := f.advance(ours, run, theirs, s)
		if done || err != nil {
			return err
		}
		// Another process was faster: what it has taken counts.
	}
}

// compare is nil if both are of one log that only grew.
func (f *File) compare(ctx context.Context, log Log, note []byte, run int, theirs audit.Checkpoint, s Seen) error {
	if note == nil || bytes.Equal(note, s.Note) {
		return nil
	}
	ours, err := audit.VerifyCheckpoint(note, log.TeamFP, log.Keys...)
	if err != nil {
		return fmt.Errorf("checkpointfile: %s: %w", f.dir, err)
	}
	// What the log was let fall behind counts no more.
	older, newer := ours.Lift(log.Restarts, run, s.Run), theirs.Lift(log.Restarts, s.Run, run)
	if older.Size > newer.Size {
		older, newer = newer, older
	}
	switch {
	case older.Size == newer.Size && older.Root == newer.Root:
		return nil
	case older.Size == newer.Size:
		return f.alarm(note, ours, theirs, s, "two different ones of one size")
	}
	proof, err := log.Prove(ctx, older.Size, newer.Size)
	if errors.Is(err, ErrAway) || ctx.Err() != nil {
		return errors.Join(err, f.keepOpen(theirs, s))
	}
	if err == nil {
		err = audit.CheckConsistency(proof, older, newer)
	}
	if err != nil {
		return f.alarm(note, ours, theirs, s, fmt.Sprintf("nobody can prove that the larger one extends the smaller: %v", err))
	}
	return nil
}

// advance makes a checkpoint that was compared with the newest one the newest, if it
// is. False if that has changed meanwhile.
func (f *File) advance(ours []byte, run int, theirs audit.Checkpoint, s Seen) (bool, error) {
	unlock, err := f.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if now, nowRun, err := f.Newest(); err != nil || nowRun != run || !bytes.Equal(now, ours) {
		return false, err
	}
	if ours != nil {
		c, err := audit.InsecureCheckpoint(ours) // Meet has verified it
		if err != nil {
			return false, err
		}
		if s.Run < run || s.Run == run && theirs.Size <= c.Size {
			return true, nil
		}
	}
	if err := f.write(fmt.Sprintf("newest-%d", s.Run), s.Note); err != nil {
		return false, err
	}
	if ours != nil && s.Run != run {
		err = os.Remove(f.path(fmt.Sprintf("newest-%d", run)))
	}
	return true, err
}

// alarm keeps both notes, once.
func (f *File) alarm(note []byte, ours, theirs audit.Checkpoint, s Seen, why string) error {
	sum := envelope.Sum(slices.Concat(ours.Root[:], theirs.Root[:]))
	name := "fork-" + hex.EncodeToString(sum[:8])
	e := &ForkError{From: s.From, Ours: ours, Theirs: theirs, Why: why, File: f.path(name)}
	unlock, err := f.lock()
	if err != nil {
		return errors.Join(e, err)
	}
	defer unlock()
	kept, err := f.names("fork-")
	if err != nil || slices.Contains(kept, name) || len(kept) >= maxKept {
		return errors.Join(e, err)
	}
	text := fmt.Sprintf("Two checkpoints of one audit log that do not fit.\nfound: %s\nfrom: %s\nwhy: %s\n\n---- seen before\n%s\n---- from %s\n%s",
		time.Now().UTC().Format(time.RFC3339), s.From, why, note, s.From, s.Note)
	e.New = true
	return errors.Join(e, f.write(name, []byte(text)))
}

// Forks gives the files with evidence.
func (f *File) Forks() ([]string, error) {
	names, err := f.names("fork-")
	for i, name := range names {
		names[i] = f.path(name)
	}
	return names, err
}

// Unproved says how many checkpoints wait to be compared.
func (f *File) Unproved() (int, error) {
	names, err := f.names("open-")
	return len(names), err
}

// keepOpen keeps a checkpoint for Reopen.
func (f *File) keepOpen(c audit.Checkpoint, s Seen) error {
	kept, err := f.names("open-")
	name := fmt.Sprintf("open-%d-%s", s.Run, hex.EncodeToString(c.Root[:8]))
	if err != nil || slices.Contains(kept, name) || len(kept) >= maxKept {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f.write(name, s.Note)
}

// Reopen compares what could not be compared before. It stops at the first that
// still can't be.
func (f *File) Reopen(ctx context.Context, log Log) error {
	names, err := f.names("open-")
	for _, name := range names {
		run, _, _ := strings.Cut(strings.TrimPrefix(name, "open-"), "-")
		s := Seen{From: "somebody met earlier"}
		if s.Run, err = strconv.Atoi(run); err != nil {
			return fmt.Errorf("checkpointfile: %s: not a file of ours", f.path(name))
		}
		if s.Note, err = f.read(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = f.Meet(ctx, log, s)
		}
		if errors.Is(err, ErrAway) || ctx.Err() != nil {
			return err
		}
		if rerr := os.Remove(f.path(name)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return errors.Join(err, rerr)
		}
		if err != nil {
			return err
		}
	}
	return err
}

func (f *File) path(name string) string { return filepath.Join(f.dir, name) }

// names gives the files that begin with a word, in order.
func (f *File) names(prefix string) (names []string, err error) {
	all, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("checkpointfile: %w", err)
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (f *File) lock() (func(), error) {
	unlock, err := lockedfile.MutexAt(f.path("lock")).Lock()
	if err != nil {
		return nil, fmt.Errorf("checkpointfile: %w", err)
	}
	return unlock, nil
}

func (f *File) read(name string) ([]byte, error) {
	info, err := os.Stat(f.path(name))
	if err != nil {
		return nil, fmt.Errorf("checkpointfile: %w", err)
	}
	if info.Size() > audit.MaxCheckpoint {
		return nil, fmt.Errorf("checkpointfile: %s is longer than %d bytes", f.path(name), audit.MaxCheckpoint)
	}
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		return nil, fmt.Errorf("checkpointfile: %w", err)
	}
	return b, nil
}

func (f *File) write(name string, b []byte) error {
	if err := keyfile.Replace(f.path(name), b); err != nil {
		return fmt.Errorf("checkpointfile: %w", err)
	}
	return nil
}
