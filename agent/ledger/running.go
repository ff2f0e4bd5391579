package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Each session that runs has a file: magic, what was kept, CRC. It is replaced whole.
const (
	runningPrefix = "running-"
	runningMagic  = "tdrun1\n"
	maxRunning    = 128 << 10
)

// Running remembers which sessions run, and what a process that is started again must
// know of them. It is safe for concurrent use.
type Running struct {
	mu     sync.Mutex
	d      Disk
	all    map[[16]byte][]byte
	broken bool
}

func openRunning(d Disk) (*Running, error) {
	names, err := d.List()
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	r := &Running{d: d, all: map[[16]byte][]byte{}}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, runningPrefix)
		id, err := hex.DecodeString(rest)
		if !ok || err != nil || len(id) != 16 {
			continue // not ours, or never finished
		}
		f, b, err := read(d, name, maxRunning)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		if f != nil {
			f.Close()
		}
		if n := len(b) - 4; n >= len(runningMagic) && strings.HasPrefix(string(b), runningMagic) && binary.BigEndian.Uint32(b[n:]) == sum(b[:n]) {
			r.all[[16]byte(id)] = b[len(runningMagic):n]
			continue
		}
		// A session that nobody can say anything about is one that is not known: it
		// gets no more of the agent.
		if err := d.Remove(name); err != nil {
			return nil, fmt.Errorf("ledger: %s: %w", name, err)
		}
	}
	return r, nil
}

func runningName(id [16]byte) string { return runningPrefix + hex.EncodeToString(id[:]) }

// Put remembers a session, on disk before it returns.
func (r *Running) Put(id [16]byte, b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return ErrBroken
	}
	whole := append([]byte(runningMagic), b...)
	whole = binary.BigEndian.AppendUint32(whole, sum(whole))
	if len(whole) > maxRunning {
		return fmt.Errorf("ledger: what is to be known of a session has %d bytes, at most %d", len(whole), maxRunning)
	}
	f, err := replace(r.d, runningName(id), whole)
	if err != nil {
		r.broken = true
		return fmt.Errorf("ledger: %s: %w", runningName(id), err)
	}
	r.all[id] = b
	return f.Close()
}

// Remove forgets a session.
func (r *Running) Remove(id [16]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return ErrBroken
	}
	if _, ok := r.all[id]; !ok {
		return nil
	}
	delete(r.all, id)
	if err := r.d.Remove(runningName(id)); err != nil {
		r.broken = true
		return fmt.Errorf("ledger: %s: %w", runningName(id), err)
	}
	return nil
}

// All gives what is remembered, by session id.
func (r *Running) All() map[[16]byte][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[[16]byte][]byte, len(r.all))
	for id, b := range r.all {
		all[id] = b
	}
	return all
}

func (r *Running) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
}
