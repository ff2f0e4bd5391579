package wire

import (
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Limits of the HTTP interfaces. Both ends keep them.
const (
	MaxBody       = 512 << 10 // bytes of a request body
	MaxAnswer     = 4 << 20   // bytes of an answer, other than an export
	MaxSealed     = 96 << 10  // bytes of a sealed ask, or of a sealed bundle
	MaxEnvelope   = envelope.MaxSize
	MaxDecision   = 32 << 10 // bytes of what is sealed with one decision
	MaxStatements = 128      // roster statements in one page or one append
	MaxEntries    = 128      // audit entries in one page
	MaxPost       = 16       // audit entries in one POST /v1/entries
	MaxAgents     = 1000     // agents in one page, or in one registry question
	MaxApprovals  = 100      // approvals in one page
	MaxSessions   = 100      // sessions in one page
	MaxWait       = 20       // seconds that GET /v1/approvals/{id} may be asked to wait
)

// Headers of our own; Authorization and DPoP are RFC 9449's.
const (
	HeaderRequest   = token.RequestHeader // signed request of an agent or a server, base64url
	HeaderDPoP      = "DPoP"
	HeaderDPoPNonce = "DPoP-Nonce"
)

// QueryTeam is the query parameter in which a signed request names the team on
// whose roster its key stands. The signature covers it, and the roster decides.
const QueryTeam = "team"

// A Head names a roster statement. Its Go conversions to roster.Head and
// token.Head are direct.
type Head struct {
	Seq  uint64        `json:"seq"`
	Hash envelope.Hash `json:"hash"`
}

// An Actor is where the chain of a device's proofs, or of an agent's entries,
// stands: the number and hash of the last one that apid has recorded. Zero
// means none. The next proof carries ActorSeq Seq+1 and ActorPrev Hash.
type Actor struct {
	Seq  uint64        `json:"seq"`
	Hash envelope.Hash `json:"hash"`
}

// ServerInfo answers GET /v1/server, which asks nobody who they are. A founder's
// admin signs these keys into the roster; everybody else reads them there.
type ServerInfo struct {
	Version    string      `json:"version"` // of apid's program
	URL        string      `json:"url"`
	Rendezvous string      `json:"rendezvous"`
	Relays     []string    `json:"relays"`
	Keys       []ServerKey `json:"keys"`
}

// A ServerKey is a public key of a server, by purpose: "grant", "token", "log"
// or "rendezvous".
type ServerKey struct {
	Purpose string     `json:"purpose"`
	Key     key.Public `json:"key"`
}

// FoundRequest is POST /v1/teams: a genesis that its admins have signed. apid
// takes it only where its configuration lets teams be founded.
type FoundRequest struct {
	Genesis []byte `json:"genesis"`
}

// Founded answers FoundRequest.
type Founded struct {
	TeamID string        `json:"team_id"`
	TeamFP envelope.Hash `json:"team_fp"`
}

// TokenRequest is POST /v1/token. The DPoP header proves the device; TeamID says
// on whose roster to look for it.
type TokenRequest struct {
	TeamID string `json:"team_id"`
	// Session is asked for as with POST /v1/sessions, under the token that is
	// answered. Nil: the token is all that is wanted.
	Session *SessionRequest `json:"session,omitempty"`
}

// TokenAnswer holds an access token. Its issuer and its audience are both apid's
// public URL; rendezvousd, which is told that URL, accepts the same token.
type TokenAnswer struct {
	AccessToken string        `json:"access_token"`
	TokenType   string        `json:"token_type"` // always "DPoP"
	ExpiresIn   int64         `json:"expires_in"` // seconds
	TeamID      string        `json:"team_id"`
	TeamFP      envelope.Hash `json:"team_fp"`
	MemberID    string        `json:"member_id"`
	Email       string        `json:"email"`
	Roles       []string      `json:"roles"`
	RosterHead  Head          `json:"roster_head"`
	// One of them is there if a session was asked for too.
	Session *SessionAnswer `json:"session,omitempty"`
	Problem *ProblemError  `json:"problem,omitempty"`
}

// RosterPage answers GET /v1/roster?after=N: the statements with a sequence
// number above N, at most MaxStatements of them. Genesis is always there. The
// reader applies them in order; More says that another page follows.
type RosterPage struct {
	Genesis    []byte   `json:"genesis"`
	Statements [][]byte `json:"statements"`
	Head       Head     `json:"head"`
	More       bool     `json:"more"`
}

// StatementsRequest is POST /v1/roster/statements: all of them are taken, in
// order, or none. A statement that is there already is accepted again.
type StatementsRequest struct {
	Statements [][]byte `json:"statements"`
}

// StatementsAnswer tells the head after the append.
type StatementsAnswer struct {
	Head Head `json:"head"`
}

// A Proposal is a change of the roster that waits for more admins' signatures: statement
// envelopes. ID is roster.Proposal.ID; readers make it anew from the bytes.
type Proposal struct {
	ID         token.ID `json:"id"`
	Statements [][]byte `json:"statements"`
}

// ProposalsPage answers GET /v1/roster/proposals.
type ProposalsPage struct {
	Proposals []Proposal `json:"proposals"`
}

// ProposalRequest is POST /v1/roster/proposals. Signatures of the same proposal add up.
type ProposalRequest struct {
	Statements [][]byte `json:"statements"`
}

// RestartRequest is POST /v1/restart. The DPoP header proves an admin's device; without
// statements it only asks. Statements are those that apid's roster lacks, and at the end the
// restart of the log.
type RestartRequest struct {
	TeamID     string   `json:"team_id"`
	Statements [][]byte `json:"statements,omitempty"`
}

// RestartAnswer says how a team's log stands. SetBack: it lacks what was signed, and nothing
// more is signed. Lost is the size of the largest checkpoint that apid remembers.
type RestartAnswer struct {
	SetBack    bool          `json:"set_back"`
	Size       uint64        `json:"size"`
	Root       envelope.Hash `json:"root"`
	Lost       uint64        `json:"lost"`
	RosterHead Head          `json:"roster_head"`
}

// States of an agent, as rendezvousd last knew them.
const (
	Online  = "online"
	Offline = "offline"
	Unknown = "unknown" // rendezvousd could not be asked
)

// AgentState is one agent's reachability. Names, tags and keys come from the
// roster, never from here.
type AgentState struct {
	Kid      key.Kid `json:"kid"`
	State    string  `json:"state"`
	LastSeen int64   `json:"last_seen,omitempty"` // unix seconds, 0 never
}

// AgentsPage answers GET /v1/agents?after=KID. Agents stand in the order of
// their key ids. Next, when set, is the cursor of the next page.
type AgentsPage struct {
	Agents []AgentState `json:"agents"`
	Next   string       `json:"next,omitempty"`
}

// ProofRequest is POST /v1/proofs: a proof of the caller's device that may not
// have reached the log, to be recorded without any effect. The answer is the
// device's Actor.
type ProofRequest struct {
	Proof []byte `json:"proof"`
}

// SessionRequest is POST /v1/sessions. Proof says everything; Approvals names
// those that the session relies on. Sending the same proof again after a lost
// answer returns the same grant. A proof of act resume is for an own session that runs.
type SessionRequest struct {
	Proof     []byte     `json:"proof"`
	Approvals []token.ID `json:"approvals,omitempty"`
}

// SessionAnswer is a yes. A no is a problem: 403 denied, 409 held.
type SessionAnswer struct {
	Grant      []byte `json:"grant"`
	Relay      Relay  `json:"relay"`
	Rendezvous string `json:"rendezvous"`
	Actor      Actor  `json:"actor"` // the device's chain after this proof
}

// Relay is how both sides of one session reach its relay. The client puts the
// agent's credential into the bundle.
type Relay struct {
	Addr     string     `json:"addr"` // host:port; empty: no relay
	Operator Credential `json:"operator"`
	Agent    Credential `json:"agent"`
}

// A Credential is a TURN user name and password, good for one side of one
// session. It prints as redacted.
type Credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// String keeps the password out of logs.
func (c Credential) String() string { return c.Username + ":redacted" }

// GoString keeps the password out of %#v.
func (c Credential) GoString() string { return c.String() }

// Session is one row of GET /v1/sessions.
type Session struct {
	ID       token.ID `json:"id"`
	Operator key.Kid  `json:"operator"`
	Target   key.Kid  `json:"target"`
	Kind     string   `json:"kind"`
	As       string   `json:"as"`
	State    string   `json:"state"`          // "granted", "started" or "ended"
	Started  int64    `json:"started"`        // unix seconds of the grant
	EndsBy   int64    `json:"ends_by"`        // unix seconds
	Away     int64    `json:"away,omitempty"` // unix seconds: since when nobody is at its terminal; 0: somebody is
	Gate     string   `json:"gate,omitempty"` // level of the exec gate in a shell, as its agent has said when it began
}

// SessionsPage answers GET /v1/sessions: newest first.
type SessionsPage struct {
	Sessions []Session `json:"sessions"`
}

// AskRequest is POST /v1/approvals: a held request asks for decisions. Proof is
// the operator's, with act "ask"; what it says about session, target, kind and
// commitment is what the approval is about. Sealed is the Ask, readable by its
// approvers and auditors only; AskHash is the hash of the Ask inside.
type AskRequest struct {
	ID       token.ID      `json:"id"`
	Proof    []byte        `json:"proof"`
	Tier     string        `json:"tier,omitempty"`
	Rule     string        `json:"rule,omitempty"`
	AskHash  envelope.Hash `json:"ask_hash"`
	AskUntil int64         `json:"ask_until"` // unix seconds; apid may shorten it to the policy's
	Sealed   []byte        `json:"sealed"`
}

// States of an approval.
const (
	Pending   = "pending"
	Approved  = "approved"
	Denied    = "denied"
	Expired   = "expired"
	Cancelled = "cancelled"
	Used      = "used"
)

// Approval is what apid knows about one: who, where and when, never the command.
type Approval struct {
	ID         token.ID      `json:"id"`
	SessionID  token.ID      `json:"session_id"`
	Operator   key.Kid       `json:"operator"`
	Member     string        `json:"member"` // member id of the operator
	Target     key.Kid       `json:"target"`
	Kind       string        `json:"kind"`
	As         string        `json:"as"`
	Commitment envelope.Hash `json:"commitment"`
	Tier       string        `json:"tier,omitempty"`
	Rule       string        `json:"rule,omitempty"`
	AskHash    envelope.Hash `json:"ask_hash"`
	Created    int64         `json:"created"`             // unix seconds
	AskUntil   int64         `json:"ask_until"`           // unix seconds
	UseUntil   int64         `json:"use_until,omitempty"` // unix seconds, once approved
	State      string        `json:"state"`
	Quorum     int           `json:"quorum"`
	Approved   int           `json:"approved"` // people who have approved so far
	Mine       bool          `json:"mine"`     // asked by the caller's member
	CanDecide  bool          `json:"can_decide"`
	WhyNot     string        `json:"why_not,omitempty"` // why CanDecide is false
	// Sealed and Decisions are there in the answers about one approval, and
	// left out of lists.
	Sealed    []byte           `json:"sealed,omitempty"`
	Decisions []SealedDecision `json:"decisions,omitempty"`
	// Deciding is who else reads it to decide it, and Online, in the answers about one
	// approval, the member ids of those that may decide and listen to events now. Both
	// are apid's word, to be shown, and never to be relied on.
	Deciding []Deciding `json:"deciding,omitempty"`
	Online   []string   `json:"online,omitempty"`
	// Actor is the asker's chain; only in the answers to an ask and a cancel.
	Actor *Actor `json:"actor,omitempty"`
}

// Deciding is a member that reads an approval to decide it.
type Deciding struct {
	Member string `json:"member"` // member id
	For    int64  `json:"for"`    // seconds, so far
}

// AttentionTime is for how many seconds others are shown that somebody reads an approval,
// unless that is said again.
const AttentionTime = 30

// AttentionRequest is POST /v1/approvals/{id}/attention: the caller reads the approval to
// decide it, or with Over does no more.
type AttentionRequest struct {
	Over bool `json:"over,omitempty"`
}

// SealedDecision is one person's decision: the Decision envelope, and the sealed
// Approval (or sealed reason) whose hash it carries.
type SealedDecision struct {
	Decision []byte `json:"decision"`
	Sealed   []byte `json:"sealed"`
}

// ApprovalsPage answers GET /v1/approvals?state=S&after=CURSOR: newest first,
// those that the caller asked for, may decide on, or audits.
type ApprovalsPage struct {
	Approvals []Approval `json:"approvals"`
	Next      string     `json:"next,omitempty"`
}

// CancelRequest is POST /v1/approvals/{id}/cancel. Proof has act "cancel".
type CancelRequest struct {
	Proof []byte `json:"proof"`
}

// EntriesRequest is POST /v1/entries: an agent's signed audit entries, in order.
type EntriesRequest struct {
	Entries [][]byte `json:"entries"`
}

// EntriesAnswer says how far the agent's chain is recorded: its outbox may forget
// everything up to Actor.Seq.
type EntriesAnswer struct {
	Actor Actor `json:"actor"`
}

// Checkpoint answers GET /v1/audit/checkpoint: a signed note.
type Checkpoint struct {
	Checkpoint []byte `json:"checkpoint"`
}

// Consistency answers GET /v1/audit/consistency?from=N&to=M: the proof (RFC 6962
// section 2.1.2) that the log of M entries extends that of N.
type Consistency struct {
	Proof []envelope.Hash `json:"proof"`
}

// MaxConsistency bounds the hashes of a Consistency: a tree of 2^63 entries has no more.
const MaxConsistency = 64

// EntriesPage answers GET /v1/audit/entries?from=I&n=N.
type EntriesPage struct {
	From    uint64   `json:"from"`
	Entries [][]byte `json:"entries"`
	Size    uint64   `json:"size"` // of the log
}

// LogProof answers GET /v1/audit/proof?index=I: the text of a C2SP tlog-proof
// with the entry and the checkpoint in it.
type LogProof struct {
	Proof []byte `json:"proof"`
}

// Offer is POST /v1/offers at rendezvousd. It waits for the agent's answer, at
// most ten seconds.
type Offer struct {
	SessionID token.ID `json:"session_id"`
	Agent     key.Kid  `json:"agent"`
	Sealed    []byte   `json:"sealed"` // the bundle; empty in a resume
	HS1       []byte   `json:"hs1"`
	Candidate string   `json:"candidate"` // the operator's relayed address, host:port; empty: the path stays
}

// OfferAnswer answers an Offer.
type OfferAnswer struct {
	HS2       []byte `json:"hs2"`
	Candidate string `json:"candidate"` // the agent's relayed address, host:port; empty: the path stays
}

// Finish is POST /v1/offers/{session_id}/finish.
type Finish struct {
	HS3 []byte `json:"hs3"`
}

// RegistryRequest is POST /v1/registry at rendezvousd, asked by apid.
type RegistryRequest struct {
	Kids []key.Kid `json:"kids"`
}

// RegistryAnswer gives one state for each key asked about, in that order. A key
// of another team is like one that never was: offline, never seen.
type RegistryAnswer struct {
	Agents []AgentState `json:"agents"`
}
