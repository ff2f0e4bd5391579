package audit

import (
	"crypto"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// chainEntries names the chains of entries in Storage.
const chainEntries = "entry"

// noHash tells an Ed25519 signer to sign the message itself (RFC 8032 PureEdDSA).
type noHash struct{}

func (noHash) HashFunc() crypto.Hash { return 0 }

// A Tree is what a log keeps of its entries: one team's, inside one transaction
// (store.Tx.Audit).
type Tree interface {
	tlog.HashReader
	Size() (int64, error)
	// Append adds entry number index with the tree hashes that it completes.
	Append(index int64, entry []byte, hashes []tlog.Hash) error
}

// Storage is a Tree and the values that move forward with it.
type Storage interface {
	Tree
	Checkpoint() (size int64, note []byte, err error)
	SetCheckpoint(size int64, note []byte) error
	Chain(name string, signer key.Kid) (seq uint64, last envelope.Hash, err error)
	SetChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error
	SkipChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error
}

// Follow moves a signer's chain to the next object of it. One that does not follow is
// ErrGap, or ErrFork. After a restart of the log, whose roster has so many of them, each
// signer may go on once from what the log has lost: the gap stays visible to everybody.
func Follow(s Storage, name string, signer key.Kid, restarts int, at Position, hash envelope.Hash) error {
	seq, last, err := s.Chain(name, signer)
	if err != nil {
		return err
	}
	run := uint64(0) // in which the signer was last heard of
	if restarts > 0 {
		if run, _, err = s.Chain(name+" run", signer); err != nil {
			return err
		}
	}
	back := run < uint64(restarts) // the first of it since a restart
	switch {
	case at.Seq == seq+1 && at.Prev == last:
		err = s.SetChain(name, signer, at.Seq, hash)
	case at.Seq > seq+1 && back:
		err = s.SkipChain(name, signer, at.Seq, hash)
	case at.Seq > seq+1:
		return fmt.Errorf("%w (number %d, known up to %d)", ErrGap, at.Seq, seq)
	default:
		return fmt.Errorf("%w (%s, number %d)", ErrFork, signer.Short(), at.Seq)
	}
	if err == nil && back {
		err = s.SkipChain(name+" run", signer, uint64(restarts), hash)
	}
	return err
}

// A Log appends entries to a team's log and signs its checkpoints with the
// log's key. It holds no state: everything is in the Storage that it is given,
// so that entries live and die with the transaction of their effect. Call Sign
// once at the end of each transaction that appended.
type Log struct {
	id     key.Identity
	teamFP envelope.Hash
	teamID string
}

// NewLog makes the log of a team. id is apid's log key.
func NewLog(id key.Identity, teamFP envelope.Hash, teamID string) *Log {
	return &Log{id, teamFP, teamID}
}

// Record numbers, signs and appends an entry of apid's own, as the recorder,
// and gives its index and bytes. TeamFP, TeamID, V and Signer are set.
func (l *Log) Record(s Storage, e Entry) (index int64, entry []byte, err error) {
	if !e.Type.byRecorder() {
		return 0, nil, fmt.Errorf("%w: entries of type %q are an agent's own word", ErrSigner, e.Type)
	}
	seq, last, err := s.Chain(chainEntries, l.id.Kid())
	if err != nil {
		return 0, nil, err
	}
	e.TeamFP, e.TeamID = l.teamFP, l.teamID
	c := NewChain(l.id, Link{seq, last})
	if entry, err = c.Next(e); err != nil {
		return 0, nil, err
	}
	if err := s.SetChain(chainEntries, l.id.Kid(), c.Last().Seq, c.Last().Hash); err != nil {
		return 0, nil, err
	}
	index, err = l.add(s, entry)
	return index, entry, err
}

// Accept verifies and appends an entry that an agent has signed. r answers for
// the agent's key. An entry that is in the log already is passed over (added
// false, no error), so that an outbox may be sent again. ErrGap, ErrFork,
// ErrSigner, ErrForeign and ErrMalformed refuse.
func (l *Log) Accept(s Storage, r *roster.Roster, entry []byte) (added bool, err error) {
	u, err := ParseEntry(entry)
	if err != nil {
		return false, err
	}
	v, err := u.Verify(r.Key)
	if err != nil {
		return false, err
	}
	e, signer := v.Entry(), v.Signer()
	if e.TeamFP != l.teamFP || e.TeamID != l.teamID {
		return false, ErrForeign
	}
	if err := checkAgent(r, e, signer); err != nil {
		return false, err
	}
	seq, last, err := s.Chain(chainEntries, signer)
	if err != nil {
		return false, err
	}
	switch {
	case e.Signer.Seq < seq:
		return false, nil
	case e.Signer.Seq == seq && v.Hash() == last:
		return false, nil
	}
	if err := Follow(s, chainEntries, signer, len(r.Restarts()), e.Signer, v.Hash()); err != nil {
		return false, err
	}
	_, err = l.add(s, entry)
	return err == nil, err
}

// checkAgent refuses an entry that is not this agent's to sign.
func checkAgent(r *roster.Roster, e Entry, signer key.Kid) error {
	if _, ok := r.EverAgent(signer); !ok {
		return fmt.Errorf("%w: not an agent's key", ErrSigner)
	}
	if !e.Type.byAgent() {
		return fmt.Errorf("%w: an agent signs no %s entries", ErrSigner, e.Type)
	}
	if e.Target.Kid != signer {
		return fmt.Errorf("%w: an agent speaks of itself only", ErrSigner)
	}
	if err := e.CheckNames(r); err != nil {
		return fmt.Errorf("%w: %w", ErrSigner, err)
	}
	return nil
}

func (l *Log) add(s Storage, entry []byte) (int64, error) {
	n, err := s.Size()
	if err != nil {
		return 0, err
	}
	hashes, err := tlog.StoredHashes(n, entry, s)
	if err != nil {
		return 0, fmt.Errorf("audit: entry %d: %w", n, err)
	}
	if err := s.Append(n, entry, hashes); err != nil {
		return 0, err
	}
	return n, nil
}

// Sign signs a checkpoint over all entries and stores it; if nothing was added
// since the last one, it gives that. ErrInconsistent if the stored hashes do
// not lead to the root that was signed last.
func (l *Log) Sign(s Storage) ([]byte, error) {
	n, err := s.Size()
	if err != nil {
		return nil, err
	}
	before, old, err := s.Checkpoint()
	if err != nil {
		return nil, err
	}
	if len(old) > 0 {
		if err := l.extends(s, before, old, n); err != nil {
			return nil, err
		}
		if before == n && l.own(old) {
			return old, nil
		}
	}
	root, err := tlog.TreeHash(n, s)
	if err != nil {
		return nil, fmt.Errorf("audit: root of %d entries: %w", n, err)
	}
	signed, err := SignCheckpoint(Checkpoint{Origin(l.teamFP), n, root}, l.id)
	if err != nil {
		return nil, err
	}
	return signed, s.SetCheckpoint(n, signed)
}

// own reports whether the note carries a signature by the present log key; a
// rotated key signs the same state again.
func (l *Log) own(signed []byte) bool {
	_, err := VerifyCheckpoint(signed, l.teamFP, l.id.Public())
	return err == nil
}

func (l *Log) extends(s Storage, size int64, signed []byte, now int64) error {
	c, err := InsecureCheckpoint(signed)
	if err != nil || c.Size != size || c.Size > now || c.Origin != Origin(l.teamFP) {
		return fmt.Errorf("%w (the last checkpoint does not fit %d entries)", ErrInconsistent, now)
	}
	root, err := tlog.TreeHash(c.Size, s)
	if err != nil {
		return errors.Join(ErrInconsistent, err)
	}
	if root != c.Root {
		return fmt.Errorf("%w (the root at %d entries is another)", ErrInconsistent, c.Size)
	}
	return nil
}
