package checkpointfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

var (
	team   = envelope.Sum([]byte("genesis"))
	logKey = key.IdentityFromSeed([32]byte{1})
)

// A history is a log that this test grows: it signs whatever it is told to.
type history struct {
	t      *testing.T
	hashes []tlog.Hash
	size   int64
}

func (h *history) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h.hashes[x]
	}
	return out, nil
}

// grow adds n entries of one kind.
func (h *history) grow(n int, what string) *history {
	h.t.Helper()
	for range n {
		more, err := tlog.StoredHashes(h.size, fmt.Appendf(nil, "%s %d", what, h.size), h)
		if err != nil {
			h.t.Fatal(err)
		}
		h.hashes = append(h.hashes, more...)
		h.size++
	}
	return h
}

// fork gives another history with the same first n entries of kind "a".
func (h *history) fork(n int) *history { return (&history{t: h.t}).grow(n, "a") }

func (h *history) checkpoint() audit.Checkpoint {
	h.t.Helper()
	root, err := tlog.TreeHash(h.size, h)
	if err != nil {
		h.t.Fatal(err)
	}
	return audit.Checkpoint{Origin: audit.Origin(team), Size: h.size, Root: root}
}

func (h *history) note() []byte {
	h.t.Helper()
	b, err := audit.SignCheckpoint(h.checkpoint(), logKey)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// log answers with this history's proofs.
func (h *history) log() checkpointfile.Log {
	return checkpointfile.Log{
		TeamFP: team, Keys: []key.Public{logKey.Public()},
		Prove: func(_ context.Context, older, newer int64) (tlog.TreeProof, error) {
			if newer > h.size {
				return nil, errors.New("the log is shorter")
			}
			return audit.ProveConsistency(h, older, newer)
		},
	}
}

func open(t *testing.T) (*checkpointfile.File, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "seen")
	f, err := checkpointfile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func newest(t *testing.T, f *checkpointfile.File) []byte {
	t.Helper()
	note, _, err := f.Newest()
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func seen(note []byte) checkpointfile.Seen { return checkpointfile.Seen{Note: note, From: "web-1"} }

func TestGrows(t *testing.T) {
	f, dir := open(t)
	h := (&history{t: t}).grow(5, "a")
	five := h.note()
	if err := f.Meet(t.Context(), h.log(), seen(five)); err != nil {
		t.Fatal(err)
	}
	nine := h.grow(4, "a").note()
	if err := f.Meet(t.Context(), h.log(), seen(nine)); err != nil {
		t.Fatal(err)
	}
	// An older one is compared, and does not take its place.
	for _, note := range [][]byte{five, nil, nine} {
		if err := f.Meet(t.Context(), h.log(), seen(note)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(newest(t, f), nine) {
		t.Error("the newest checkpoint is not kept")
	}
	again, err := checkpointfile.Open(dir)
	if err != nil || !bytes.Equal(newest(t, again), nine) {
		t.Errorf("it does not survive: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "newest-0")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestAlarms(t *testing.T) {
	h := (&history{t: t}).grow(7, "a")
	for name, c := range map[string]struct {
		theirs []byte
		why    string
	}{
		"another log of one size": {h.fork(5).grow(2, "b").note(), "one size"},
		"a larger fork":           {h.fork(5).grow(9, "b").note(), "shorter"},
		"a smaller fork":          {h.fork(3).grow(2, "b").note(), "nobody can prove"},
		"a lie about the future":  {h.fork(7).grow(1, "a").note(), "shorter"}, // the log does not have what it has signed
	} {
		t.Run(name, func(t *testing.T) {
			f, dir := open(t)
			ours := h.note()
			if err := f.Meet(t.Context(), h.log(), seen(ours)); err != nil {
				t.Fatal(err)
			}
			err := f.Meet(t.Context(), h.log(), seen(c.theirs))
			var fork *checkpointfile.ForkError
			if !errors.As(err, &fork) || !fork.New || !strings.Contains(fork.Why, c.why) || fork.From != "web-1" {
				t.Fatalf("%v", err)
			}
			if !bytes.Equal(newest(t, f), ours) {
				t.Error("the second story has taken the place of the first")
			}
			files, err := f.Forks()
			if err != nil || len(files) != 1 || files[0] != fork.File || filepath.Dir(files[0]) != dir {
				t.Fatalf("%v %v", files, err)
			}
			kept, err := os.ReadFile(fork.File)
			if err != nil || !bytes.Contains(kept, ours) || !bytes.Contains(kept, c.theirs) {
				t.Errorf("both notes are to be kept as they are: %v\n%s", err, kept)
			}
			// Once is enough.
			if err := f.Meet(t.Context(), h.log(), seen(c.theirs)); !errors.As(err, &fork) || fork.New {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestNotOfTheLog(t *testing.T) {
	f, _ := open(t)
	h := (&history{t: t}).grow(3, "a")
	stranger, err := audit.SignCheckpoint(h.checkpoint(), key.IdentityFromSeed([32]byte{9}))
	if err != nil {
		t.Fatal(err)
	}
	other := h.checkpoint()
	other.Origin = audit.Origin(envelope.Sum([]byte("another genesis")))
	foreign, err := audit.SignCheckpoint(other, logKey)
	if err != nil {
		t.Fatal(err)
	}
	tampered := bytes.Replace(h.note(), []byte("\n3\n"), []byte("\n4\n"), 1)
	for name, note := range map[string][]byte{"a stranger's": stranger, "another team's": foreign, "tampered": tampered, "none": []byte("checkpoint\n")} {
		if err := f.Meet(t.Context(), h.log(), seen(note)); !errors.Is(err, checkpointfile.ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if newest(t, f) != nil {
		t.Error("something was kept")
	}
}

// Nobody to ask is no alarm and no yes: the question stays, over a restart too.
func TestStaysOpen(t *testing.T) {
	f, dir := open(t)
	h := (&history{t: t}).grow(3, "a")
	three := h.note()
	if err := f.Meet(t.Context(), h.log(), seen(three)); err != nil {
		t.Fatal(err)
	}
	away := h.log()
	away.Prove = func(context.Context, int64, int64) (tlog.TreeProof, error) {
		return nil, fmt.Errorf("%w: no network", checkpointfile.ErrAway)
	}
	good, bad := h.grow(4, "a").note(), h.fork(2).grow(3, "b").note()
	for _, note := range [][]byte{good, bad, good} {
		if err := f.Meet(t.Context(), away, seen(note)); !errors.Is(err, checkpointfile.ErrAway) {
			t.Fatal(err)
		}
	}
	f, err := checkpointfile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Unproved(); n != 2 || err != nil || !bytes.Equal(newest(t, f), three) {
		t.Fatalf("%d wait, %v", n, err)
	}
	if err := f.Reopen(t.Context(), away); !errors.Is(err, checkpointfile.ErrAway) {
		t.Fatal(err)
	}
	// As many calls as there are answers: one is an alarm.
	var fork *checkpointfile.ForkError
	err = errors.Join(f.Reopen(t.Context(), h.log()), f.Reopen(t.Context(), h.log()))
	if n, _ := f.Unproved(); n != 0 || !errors.As(err, &fork) || !bytes.Equal(newest(t, f), good) {
		t.Errorf("%d wait, %v", n, err)
	}
}

// Admins have let the log go on from an older state: what was lost by that is no
// alarm, and only that.
func TestRestarts(t *testing.T) {
	before := (&history{t: t}).grow(9, "a")
	base := before.fork(4)
	restart := base.checkpoint()
	after := base.grow(8, "b")
	log := after.log()
	log.Restarts = []audit.Checkpoint{restart}
	with := func(note []byte, run int) checkpointfile.Seen {
		return checkpointfile.Seen{Note: note, Run: run, From: "web-1"}
	}

	f, dir := open(t)
	if err := f.Meet(t.Context(), before.log(), with(before.note(), 0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Meet(t.Context(), log, with(after.note(), 1)); err != nil {
		t.Fatal(err)
	}
	if _, run, err := f.Newest(); run != 1 || err != nil || !bytes.Equal(newest(t, f), after.note()) {
		t.Errorf("run %d, %v", run, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "newest-0")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// Somebody who has not heard of the restart shows what he has: no alarm, no step back.
	if err := f.Meet(t.Context(), log, with(before.note(), 0)); err != nil || !bytes.Equal(newest(t, f), after.note()) {
		t.Error(err)
	}
	// The same restart again excuses nothing.
	forked := before.fork(4).grow(20, "c")
	log = forked.log()
	log.Restarts = []audit.Checkpoint{restart}
	var fork *checkpointfile.ForkError
	if err := f.Meet(t.Context(), log, with(forked.note(), 1)); !errors.As(err, &fork) {
		t.Errorf("%v", err)
	}
	// Nor does it excuse another log below the state that was left.
	f, _ = open(t)
	other := (&history{t: t}).grow(2, "a").grow(7, "z")
	if err := f.Meet(t.Context(), other.log(), with((&history{t: t}).grow(2, "a").grow(1, "z").note(), 0)); err != nil {
		t.Fatal(err)
	}
	log = after.log()
	log.Restarts = []audit.Checkpoint{restart}
	if err := f.Meet(t.Context(), log, with(after.note(), 1)); !errors.As(err, &fork) {
		t.Errorf("%v", err)
	}
}

// Processes that share a folder never take it back.
func TestTogether(t *testing.T) {
	f, dir := open(t)
	h := (&history{t: t})
	var notes [][]byte
	for range 16 {
		notes = append(notes, h.grow(3, "a").note())
	}
	var all sync.WaitGroup
	for _, note := range notes {
		all.Go(func() {
			f, err := checkpointfile.Open(dir)
			if err == nil {
				err = f.Meet(t.Context(), h.log(), seen(note))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if !bytes.Equal(newest(t, f), notes[15]) {
		t.Error("the largest is not the newest")
	}
}
