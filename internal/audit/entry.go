package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Version is the only entry version this package reads.
const Version = 1

const (
	// MaxEntry bounds an encoded entry, in bytes.
	MaxEntry = 16 << 10

	maxWord      = 64   // bytes of a type, action, effect, tier or signal
	maxRule      = 256  // bytes of a rule's name
	maxReason    = 1024 // bytes of a reason
	maxDecisions = 16   // decisions in one entry
)

var (
	// ErrMalformed means bytes that are not an entry, checkpoint, proof or
	// export in its one allowed form.
	ErrMalformed = errors.New("audit: malformed")
	// ErrForeign means an entry, note or proof of another team or log.
	ErrForeign = errors.New("audit: of another team")
	// ErrSigner means an entry by a key that may not sign it.
	ErrSigner = errors.New("audit: this key may not sign this entry")
	// ErrGap means an entry that does not follow its signer's last one: send
	// the ones between first.
	ErrGap = errors.New("audit: entries of this signer are missing before this one; send them first")
	// ErrFork means two different entries of one signer with one number: keep
	// both as evidence.
	ErrFork = errors.New("audit: the signer has numbered two different entries alike; keep both as evidence")
	// ErrInconsistent means that stored hashes do not lead to a root that was
	// signed before: the database was restored or changed. The log signs
	// nothing more until admins have looked.
	ErrInconsistent = errors.New("audit: the stored log is not the one that was signed; nothing more is signed")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// A Type says what an entry is about.
type Type string

// The types. The agent's are signed by agents only, Refusal by agents or apid,
// all others by apid's log key as the recorder.
const (
	SignIn        Type = "sign-in"        // a device got an access token
	Enrol         Type = "enrol"          // an agent or a device asked to join
	Roster        Type = "roster"         // a statement; RosterHead is the head it made
	Verdict       Type = "verdict"        // what policy answered to a proof
	Ask           Type = "ask"            // an approval was asked for, or withdrawn
	Approval      Type = "approval"       // a decision, or the end of an ask
	SessionStart  Type = "session-start"  // agent: a session began
	SessionEnd    Type = "session-end"    // agent: it ended, with its outcome
	SessionDetach Type = "session-detach" // agent: its operator left the terminal, or is not heard
	SessionAttach Type = "session-attach" // agent: its operator is back, maybe on another device
	Exec          Type = "exec"           // agent: a command is about to run
	Alarm         Type = "alarm"          // agent: it was shown two logs; Outcome says which
	Refusal       Type = "refusal"        // a request was refused
)

var types = []Type{SignIn, Enrol, Roster, Verdict, Ask, Approval, SessionStart, SessionEnd, SessionDetach, SessionAttach, Exec, Alarm, Refusal}

// byAgent and byRecorder say who may sign entries of a type.
func (t Type) byAgent() bool {
	switch t {
	case SessionStart, SessionEnd, SessionDetach, SessionAttach, Exec, Alarm, Refusal:
		return true
	}
	return false
}

func (t Type) byRecorder() bool { return slices.Contains(types, t) && (!t.byAgent() || t == Refusal) }

// An Entry is one fact. Fields that say nothing about it are zero.
type Entry struct {
	V         uint64        `cbor:"v"`
	TeamFP    envelope.Hash `cbor:"team_fp"`
	TeamID    string        `cbor:"team_id"`
	Type      Type          `cbor:"type"`
	Timestamp int64         `cbor:"timestamp"` // Unix seconds, by the signer's clock

	// Signer numbers and chains the entries of the key that signs this one.
	// Chain and Log fill it in.
	Signer Position `cbor:"signer"`

	Actor      Party          `cbor:"actor"`  // who did it: a device, an agent, or a server key
	Action     string         `cbor:"action"` // a word: "shell", "exec", "approve", "member-add", …
	Target     Party          `cbor:"target"`
	SessionID  token.ID       `cbor:"session_id"`
	Policy     PolicyResult   `cbor:"policy_result"`
	Command    CommandContext `cbor:"command"`
	Proof      []byte         `cbor:"proof"`     // the operator's token.Proof envelope
	Approvals  [][]byte       `cbor:"approvals"` // approval.Decision envelopes
	RosterHead roster.Head    `cbor:"roster_head"`
	Outcome    Outcome        `cbor:"outcome"`
}

// BreakGlass begins the reason in the start of a session that a quorum stood in for
// apid's grant for. Only the agent, whose entry it is, says so.
const BreakGlass = "break-glass: "

// BreaksGlass reports whether e is the start of such a session.
func (e Entry) BreaksGlass() bool {
	return e.Type == SessionStart && strings.HasPrefix(e.Outcome.Reason, BreakGlass)
}

// ActionStart is the action of an Exec entry that is written before the command runs.
const ActionStart = "start"

// Gate begins the reason in the Exec entry of a shell's start. The level at which the
// exec gate holds in it follows.
const Gate = "gate: "

// maxLevel bounds a level's name, in bytes.
const maxLevel = 16

// GateLevel gives the level that e says a shell began with, "" where e says none.
func (e Entry) GateLevel() string {
	level, ok := strings.CutPrefix(e.Outcome.Reason, Gate)
	if !ok || e.Type != Exec || e.Action != ActionStart || len(level) > maxLevel {
		return ""
	}
	return level
}

// A Position is an entry's place among those of its signer: numbers from 1, and
// the hash of the one before (zero for the first).
type Position struct {
	Seq  uint64        `cbor:"seq"`
	Prev envelope.Hash `cbor:"prev"`
}

// A Party is a key, and the name that the roster gave it when the entry was
// made: an e-mail or an agent's name. The name is for people; the key counts.
type Party struct {
	Kid  key.Kid `cbor:"kid"`
	Name string  `cbor:"name"`
}

// A PolicyResult is the verdict, and the policy that gave it.
type PolicyResult struct {
	Hash    envelope.Hash `cbor:"hash"`
	Version uint64        `cbor:"version"`
	Effect  string        `cbor:"effect"` // "deny", "hold", "confirm", "allow", or empty
	Rule    string        `cbor:"rule"`
}

// A CommandContext binds a command without telling it. Sealed is an age file
// for approvers and auditors; it can be erased where it is stored outside the
// log, while the commitment stays.
type CommandContext struct {
	Tier       string        `cbor:"tier"`
	Commitment envelope.Hash `cbor:"commitment"`
	Sealed     []byte        `cbor:"sealed"`
}

// An Outcome is how it ended: for session-end the exit code or signal, for a
// refusal or a denied ask the reason.
type Outcome struct {
	Exit   int64  `cbor:"exit"`
	Signal string `cbor:"signal"`
	Reason string `cbor:"reason"`
	// Recording, in the end of a session that was recorded, is the hash of the
	// recording's last manifest (internal/recording): who has the log knows
	// when a recording was cut. Left out where it is zero.
	Recording envelope.Hash `cbor:"recording,omitzero"`
}

// Context implements token.Body.
func (Entry) Context() string { return "tucdesk entry v1" }

// Check implements token.Body. Who may sign what is checked against the roster,
// by Log.Accept and Verify.
func (e Entry) Check(key.Kid) error {
	switch {
	case e.V != Version:
		return malformed("entry: unknown version %d", e.V)
	case e.TeamFP.IsZero() || e.Timestamp <= 0 || e.Actor.Kid.IsZero() || e.RosterHead.Hash.IsZero():
		return malformed("entry: team_fp, timestamp, actor or roster_head is missing")
	case sanitize.Name(e.TeamID) != nil:
		return malformed("entry: team_id is not a name that may enter the system")
	case !slices.Contains(types, e.Type):
		return malformed("entry: unknown type")
	case e.Signer.Seq == 0 || (e.Signer.Seq == 1) != e.Signer.Prev.IsZero():
		return malformed("entry: numbers start at 1, and only the first has no prev")
	case e.Action == "" || !word(e.Action):
		return malformed("entry: action is 1 to %d printable ASCII bytes", maxWord)
	case !word(e.Policy.Effect) || !word(e.Command.Tier) || !word(e.Outcome.Signal):
		return malformed("entry: effect, tier and signal have at most %d printable ASCII bytes", maxWord)
	case len(e.Policy.Rule) > maxRule || !utf8.ValidString(e.Policy.Rule):
		return malformed("entry: rule has more than %d bytes or is not UTF-8", maxRule)
	case len(e.Outcome.Reason) > maxReason || !utf8.ValidString(e.Outcome.Reason):
		return malformed("entry: reason has more than %d bytes or is not UTF-8", maxReason)
	case len(e.Approvals) > maxDecisions:
		return malformed("entry: %d decisions, at most %d", len(e.Approvals), maxDecisions)
	}
	for _, p := range []Party{e.Actor, e.Target} {
		if p.Name != "" && sanitize.Name(p.Name) != nil {
			return malformed("entry: a name that may not enter the system")
		}
	}
	return nil
}

// word reports whether s is short printable ASCII.
func word(s string) bool {
	return len(s) <= maxWord && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// sign checks e and signs it. It sets V.
func sign(id key.Identity, e Entry) ([]byte, envelope.Hash, error) {
	e.V = Version
	b, err := token.Sign(id, e)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	u, err := ParseEntry(b)
	if err != nil {
		return nil, envelope.Hash{}, fmt.Errorf("%w; seal the command to fewer people", err)
	}
	return b, u.hash(), nil
}

// An UnverifiedEntry is an entry that nobody has checked.
type UnverifiedEntry struct{ env envelope.Unverified }

// ParseEntry reads an entry envelope. It checks no signature.
func ParseEntry(b []byte) (UnverifiedEntry, error) {
	if len(b) > MaxEntry {
		return UnverifiedEntry{}, malformed("entry: %d bytes, at most %d", len(b), MaxEntry)
	}
	env, err := envelope.Parse(b)
	if err != nil {
		return UnverifiedEntry{}, fmt.Errorf("audit: entry: %w", err)
	}
	if n := len(env.Signers()); n != 1 {
		return UnverifiedEntry{}, malformed("entry: %d signatures, want 1", n)
	}
	return UnverifiedEntry{env}, nil
}

func (u UnverifiedEntry) hash() envelope.Hash { return envelope.Sum(u.env.InsecurePayload()) }

// InsecureSigner gives the key that claims to have signed.
func (u UnverifiedEntry) InsecureSigner() key.Kid {
	if ids := u.env.Signers(); len(ids) == 1 {
		return ids[0]
	}
	return key.Kid{}
}

// InsecureEntry reads the entry before any check, to show what a server tells.
func (u UnverifiedEntry) InsecureEntry() (e Entry, err error) {
	if err := envelope.Unmarshal(u.env.InsecurePayload(), &e); err != nil {
		return Entry{}, fmt.Errorf("audit: entry: %w", err)
	}
	return e, nil
}

// A VerifiedEntry is an entry whose signature and form were checked. The zero
// value has the zero Entry.
type VerifiedEntry struct {
	env   envelope.Verified
	entry Entry
}

// Verify checks signature and form. keys answers keys that the roster ever held.
func (u UnverifiedEntry) Verify(keys token.Keys) (VerifiedEntry, error) {
	env, err := u.env.Verify(Entry{}.Context(), keys)
	if err != nil {
		return VerifiedEntry{}, fmt.Errorf("audit: entry: %w", err)
	}
	v := VerifiedEntry{env: env}
	if err := env.Decode(&v.entry); err != nil {
		return VerifiedEntry{}, fmt.Errorf("audit: entry: %w", err)
	}
	if err := v.entry.Check(v.Signer()); err != nil {
		return VerifiedEntry{}, err
	}
	return v, nil
}

// Entry gives the fact.
func (v VerifiedEntry) Entry() Entry { return v.entry }

// Signer gives the key that signed; the zero Kid for the zero value.
func (v VerifiedEntry) Signer() key.Kid {
	if ids := v.env.Signers(); len(ids) == 1 {
		return ids[0]
	}
	return key.Kid{}
}

// Hash is the SHA-256 of the payload: Position.Prev of the signer's next entry.
func (v VerifiedEntry) Hash() envelope.Hash { return v.env.Hash() }

// Bytes gives the encoded envelope: the leaf of the log. Do not change it.
func (v VerifiedEntry) Bytes() []byte { return v.env.Bytes() }

// A Chain numbers and signs the entries of one key. It is not safe for
// concurrent use: whoever owns the key keeps it under a lock, stores what Next
// gives before sending it, and sends it again until it is in the log. The end
// of a chain (Last) is read back from what is stored.
type Chain struct {
	id   key.Identity
	last Link
}

// A Link is the end of a signer's chain: how many entries it has numbered, and
// the hash of the last. The zero Link is a chain with nothing in it.
type Link struct {
	Seq  uint64        `cbor:"seq" json:"seq"`
	Hash envelope.Hash `cbor:"hash" json:"hash"`
}

// NewChain goes on after last.
func NewChain(id key.Identity, last Link) *Chain { return &Chain{id, last} }

// Last gives the end of the chain.
func (c *Chain) Last() Link { return c.last }

// Next numbers and signs e. V and Signer are set; an error uses up no number.
func (c *Chain) Next(e Entry) ([]byte, error) {
	e.Signer = Position{Seq: c.last.Seq + 1, Prev: c.last.Hash}
	b, h, err := sign(c.id, e)
	if err != nil {
		return nil, err
	}
	c.last = Link{Seq: e.Signer.Seq, Hash: h}
	return b, nil
}

// LinkOf gives the link that an entry makes, read without any check, to find
// the end of a chain in one's own store.
func LinkOf(entry []byte) (Link, error) {
	u, err := ParseEntry(entry)
	if err != nil {
		return Link{}, err
	}
	e, err := u.InsecureEntry()
	if err != nil {
		return Link{}, err
	}
	return Link{Seq: e.Signer.Seq, Hash: u.hash()}, nil
}
