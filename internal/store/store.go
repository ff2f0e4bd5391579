package store

import (
	"context"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

const (
	// MaxPage bounds every list: a limit above it, or below 1, becomes MaxPage.
	MaxPage = 1000
	// MaxTeam bounds a team id, in bytes.
	MaxTeam = 128
	// MaxBody bounds the Body of an approval or a session and the bytes of a
	// statement or an entry.
	MaxBody = 256 << 10
	// MaxJTI bounds the id of a proof, in bytes.
	MaxJTI = 128
)

var (
	// ErrNotFound means that this team has no such thing. Another team's thing
	// is not found either.
	ErrNotFound = errors.New("store: not found")
	// ErrExists means that the id or name is taken.
	ErrExists = errors.New("store: exists already")
	// ErrConflict means that somebody else changed it in between: the version,
	// sequence number or index is not the expected one. Read again and decide.
	ErrConflict = errors.New("store: changed in between")
	// ErrReplayed means that a proof id was used before.
	ErrReplayed = errors.New("store: proof was used before")
	// ErrReadOnly means a write inside View.
	ErrReadOnly = errors.New("store: write in a read-only transaction")
	// ErrInvalid means a value that may not be stored: an empty team, a field
	// over its limit, a zero id.
	ErrInvalid = errors.New("store: invalid value")
	// ErrNewerSchema means a database that a newer version of TucDesk has
	// migrated. This version refuses to touch it.
	ErrNewerSchema = errors.New("store: the database has a newer schema")
	// ErrOlderSchema means a database that must be migrated first, by whoever
	// owns it.
	ErrOlderSchema = errors.New("store: the database has an older schema")
)

// A Store keeps the data of many teams. Its methods are safe for concurrent use.
type Store interface {
	// Tx runs f as the only writer of a team, and makes its effects durable
	// before it returns nil. If f returns an error, nothing is kept and Tx
	// returns that error. Any other error leaves open whether the effects are
	// there: repeat with the same ids. f must not start another transaction
	// and must not keep tx. It runs again where the database gave its
	// transaction up in favour of another: it sets what it captures, and adds
	// nothing to it.
	Tx(ctx context.Context, team string, f func(tx Tx) error) error
	// View runs f on one unchanging state of a team. Writes are ErrReadOnly.
	View(ctx context.Context, team string, f func(tx Tx) error) error
	// Teams lists the teams that have a genesis, by id, after the one given
	// (empty: from the first).
	Teams(ctx context.Context, after string, limit int) ([]string, error)
	Close() error
}

// A Tx is one team's data inside Store.Tx or Store.View, by aggregate. The
// context given to those bounds every call. What a call returns belongs to the
// caller, and what a call is given is not kept. A text that CheckText refuses is
// ErrInvalid, also where it is only looked for.
type Tx struct {
	Roster     Roster
	Targets    Targets
	Replay     Replay
	Approvals  Approvals
	Sessions   Sessions
	Audit      Audit
	Recordings Recordings
}

// A Statement is one statement of the team's roster as it was received. Seq 0
// is the genesis.
type Statement struct {
	Seq   uint64
	Hash  envelope.Hash // of the statement's payload; the team_fp for the genesis
	Bytes []byte
}

// Roster keeps the statements of one team's roster, without a gap. Whoever
// appends has verified them.
type Roster interface {
	// AppendStatement adds the next statement. A genesis founds the team.
	// ErrConflict if Seq is not the next number (a second genesis too).
	AppendStatement(Statement) error
	// Statements lists the statements with Seq > after, in order. The genesis
	// is not among them.
	Statements(after uint64, limit int) ([]Statement, error)
	// Genesis gives statement 0, or ErrNotFound.
	Genesis() (Statement, error)
	// Head gives the last statement, or ErrNotFound.
	Head() (Statement, error)
}

// A Target is an agent of the roster, as a row that can be looked up.
type Target struct {
	Kid       key.Kid
	Name      string // unique in the team
	Tags      map[string]string
	LoginUser string
	Exp       time.Time
}

// Targets mirrors the roster's agents. It is filled in the transaction that
// appends the statement which names them.
type Targets interface {
	// Put adds the target or replaces the one with its Kid. ErrExists if
	// another Kid has the name.
	Put(Target) error
	// Delete removes a target; ErrNotFound if there is none.
	Delete(key.Kid) error
	Get(key.Kid) (Target, error)
	Named(name string) (Target, error)
	// List gives targets by name (in byte order), after the name given (empty:
	// from the first).
	List(after string, limit int) ([]Target, error)
}

// Replay remembers which proofs were used.
type Replay interface {
	// Use marks a signer's proof id as used until exp. ErrReplayed if it is
	// marked already, also when exp of the mark has passed: a mark goes away
	// only through Prune.
	Use(signer key.Kid, jti string, exp time.Time) error
	// Prune deletes at most limit marks with exp before the time given and says
	// how many. Callers keep a margin over their clock skew.
	Prune(before time.Time, limit int) (int, error)
}

// A Filter selects rows of a list; a zero field selects all.
type Filter struct {
	State    string
	Operator key.Kid
	Agent    key.Kid
}

// An Approval is one held request. The store reads none of Body: it holds the
// sealed ask and the decisions.
type Approval struct {
	ID        [16]byte
	Number    uint64 // given by Insert: 1, 2, … in the team; the cursor of List
	Version   uint64 // given by Insert and Update: 1, 2, …
	State     string
	Operator  key.Kid
	Agent     key.Kid
	SessionID [16]byte
	Created   time.Time // times are kept to the millisecond
	AskUntil  time.Time
	Body      []byte // an empty one comes back as nil
}

// Approvals keeps the held requests of a team.
type Approvals interface {
	// Insert adds a request and gives it back with Number and Version 1.
	// ErrExists if the ID is taken.
	Insert(Approval) (Approval, error)
	Get(id [16]byte) (Approval, error)
	// List gives requests from the newest on, below the number given (0: from
	// the newest).
	List(f Filter, before uint64, limit int) ([]Approval, error)
	// Update replaces State, AskUntil and Body if Version is still the stored
	// one, else ErrConflict; it gives the row back with its new Version.
	Update(Approval) (Approval, error)
	// Due gives requests in the state given whose AskUntil is not after now,
	// the earliest first.
	Due(state string, now time.Time, limit int) ([]Approval, error)
}

// A Session is one session that apid answered for. The store reads none of
// Body: it holds the answer, so that a repeated request gets the same one.
type Session struct {
	ID        [16]byte
	Number    uint64 // given by Insert: 1, 2, … in the team; the cursor of List
	Version   uint64 // given by Insert and Update: 1, 2, …
	State     string
	Operator  key.Kid
	Agent     key.Kid
	ProofHash envelope.Hash // of the operator's proof that asked for it
	Created   time.Time     // times are kept to the millisecond
	EndsBy    time.Time
	Body      []byte // an empty one comes back as nil
}

// Sessions keeps the sessions of a team.
type Sessions interface {
	// Insert adds a session and gives it back with Number and Version 1.
	// ErrExists if the ID is taken.
	Insert(Session) (Session, error)
	Get(id [16]byte) (Session, error)
	// List gives sessions from the newest on, below the number given (0: from
	// the newest).
	List(f Filter, before uint64, limit int) ([]Session, error)
	// Update replaces State, EndsBy and Body if Version is still the stored
	// one, else ErrConflict; it gives the row back with its new Version.
	Update(Session) (Session, error)
	// Due gives sessions in the state given whose EndsBy is not after now, the
	// earliest first.
	Due(state string, now time.Time, limit int) ([]Session, error)
}

// Audit keeps one team's log: entries, the hashes of their Merkle tree, the
// newest checkpoint and the ends of the signers' chains. internal/audit gives
// it meaning; no entry and no hash is ever changed or removed here.
type Audit interface {
	// Size gives how many entries there are.
	Size() (int64, error)
	// Append adds entry number index together with the tree hashes that it
	// completes (tlog.StoredHashes). ErrConflict if index is not Size.
	Append(index int64, entry []byte, hashes []tlog.Hash) error
	// Entries gives at most n entries from index on.
	Entries(from int64, n int) ([][]byte, error)
	// ReadHashes gives tree hashes by their stored index (tlog.HashReader). A
	// missing one is ErrNotFound.
	ReadHashes(indexes []int64) ([]tlog.Hash, error)
	AuditHeads
}

// AuditHeads are the few values of a log that move forward.
type AuditHeads interface {
	// Checkpoint gives the newest signed note and how many entries it covers;
	// 0 and nil before the first.
	Checkpoint() (size int64, note []byte, err error)
	// SetCheckpoint replaces it; ErrConflict if the new one covers fewer.
	SetCheckpoint(size int64, note []byte) error
	// Chain gives how many objects a signer has numbered in the chain with this
	// name, and the hash of the last; zeros if none.
	Chain(name string, signer key.Kid) (seq uint64, last envelope.Hash, err error)
	// SetChain moves a chain by one; ErrConflict if seq is not the next.
	SetChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error
	// SkipChain moves a chain to any larger number; ErrConflict if seq is not larger.
	// It is for what a restored log has lost.
	SkipChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error
}

// Limit gives the limit that a list works with.
func Limit(n int) int {
	if n < 1 || n > MaxPage {
		return MaxPage
	}
	return n
}
