//go:build unix

package cell

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/halves"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
)

// version is that of SPEC.md. A keeper takes halves of the one before, too: their shells
// can't be watched.
const (
	version    = 3
	oldVersion = 2
)

const (
	// maxInward and maxOutward bound a frame's body towards the keeper and away from
	// it, in bytes: a chunk of a recording comes in, a handshake goes out.
	maxInward  = 1 << 20
	maxOutward = 256 << 10
	// callsPerSecond and callsAtOnce bound the calls and notes of one half.
	// each program start under the gate is one.
	callsPerSecond = 5000
	callsAtOnce    = 10000
	// maxReason bounds a text of a half's, in bytes.
	maxReason = 1 << 10
	// maxReport bounds what a half reports of a copy, in bytes.
	maxReport = 8 << 10
	// maxStart bounds the words and names of one program start that is asked about,
	// in bytes, and maxJudged how many are at a time.
	maxStart  = 512 << 10
	maxJudged = 24
)

// What the session half asks.
const (
	opHello   link.Op = 1
	opKeep    link.Op = 2
	opSign    link.Op = 3
	opStart   link.Op = 4
	opDecide  link.Op = 5
	opCommit  link.Op = 6
	opRefuse  link.Op = 7
	opOutcome link.Op = 8
	opEnd     link.Op = 9
	opCreate  link.Op = 10
	opAppend  link.Op = 11
	opSegment link.Op = 12
	opClosed  link.Op = 13
	opGather  link.Op = 14
	opConnect link.Op = 15
	opJudge   link.Op = 16
	opPermit  link.Op = 17
	opReport  link.Op = 18
	opRules   link.Op = 19
	opAttach  link.Op = 20
	opAway    link.Op = 21
	opGuide   link.Op = 22
)

// What the session half tells.
const (
	opLeave link.Op = 32
	opClose link.Op = 33
)

// What the keeper asks.
const (
	opRespond link.Op = 64
	opResume  link.Op = 65
	opMove    link.Op = 66
	opReturn  link.Op = 67
	opWatch   link.Op = 68
)

// What the keeper tells.
const (
	opFinish   link.Op = 96
	opCut      link.Op = 97
	opLost     link.Op = 98
	opWithdraw link.Op = 99
)

// helloCall is the first of a half that comes to the door.
type helloCall struct {
	Version uint64   `cbor:"version"`
	Session token.ID `cbor:"session"`
	Secret  []byte   `cbor:"secret"`
}

// keepCall hands on a path; with it come the other end of its socket, and the socket to
// the relay.
type keepCall struct {
	Way      uint64         `cbor:"way"`
	Relay    string         `cbor:"relay"`
	Username string         `cbor:"username"`
	Password string         `cbor:"password"`
	Addr     netip.AddrPort `cbor:"addr"`
	Peer     netip.AddrPort `cbor:"peer"`
}

func keepOf(n uint64, k halves.Kept) keepCall {
	return keepCall{Way: n, Relay: k.Relay, Username: k.Cred.Username, Password: string(k.Cred.Password), Addr: k.Addr, Peer: k.Peer}
}

func (m keepCall) kept() halves.Kept {
	return halves.Kept{
		Relay: m.Relay, Cred: cred.Credential{Username: m.Username, Password: cred.Password(m.Password)}, Addr: m.Addr, Peer: m.Peer,
	}
}

type signCall struct {
	Context string   `cbor:"context"`
	Parts   [][]byte `cbor:"parts"`
}

type signAnswer struct {
	Signature []byte `cbor:"signature"`
}

// evidenceMessage is a session.Evidence.
type evidenceMessage struct {
	Seq        uint64        `cbor:"seq"`
	Hash       envelope.Hash `cbor:"hash"`
	Time       int64         `cbor:"time"`
	Checkpoint []byte        `cbor:"checkpoint"`
}

func evidenceOf(e session.Evidence) evidenceMessage {
	return evidenceMessage{e.RosterSeq, e.RosterHash, e.Time.Unix(), append([]byte{}, e.Checkpoint...)}
}

func (m evidenceMessage) evidence() session.Evidence {
	return session.Evidence{RosterSeq: m.Seq, RosterHash: m.Hash, Time: time.Unix(m.Time, 0), Checkpoint: m.Checkpoint}
}

// verdict is a keeper's yes, or its no.
type verdict struct {
	Answer channel.Answer `cbor:"answer"`
}

// taskMessage is a live.Task.
type taskMessage struct {
	ID       uint64          `cbor:"id"`
	Answer   channel.Answer  `cbor:"answer"`
	User     string          `cbor:"user"`
	Record   string          `cbor:"record"`
	Auditors []key.Recipient `cbor:"auditors"`
	Label    string          `cbor:"label"`
	Facts    []byte          `cbor:"facts"`
	Output   int64           `cbor:"output,omitempty"`
}

func taskOf(t live.Task) taskMessage {
	return taskMessage{t.ID, t.Answer, t.User, t.Record, append([]key.Recipient{}, t.Auditors...), t.Label, append([]byte{}, t.Facts...), t.Output}
}

func (m taskMessage) task() live.Task {
	return live.Task{ID: m.ID, Answer: m.Answer, User: m.User, Record: m.Record, Auditors: m.Auditors, Label: m.Label, Facts: m.Facts, Output: m.Output}
}

type taskCall struct {
	Task uint64 `cbor:"task"`
}

type refuseCall struct {
	Task   uint64 `cbor:"task"`
	Code   string `cbor:"code"`
	Reason string `cbor:"reason"`
}

type outcomeCall struct {
	Task   uint64 `cbor:"task"`
	Facts  []byte `cbor:"facts"`
	Code   int64  `cbor:"code"`
	Signal string `cbor:"signal"`
	Reason string `cbor:"reason"`
	Report []byte `cbor:"report"` // empty: none
}

type endCall struct {
	Code      int64         `cbor:"code"`
	Signal    string        `cbor:"signal"`
	Reason    string        `cbor:"reason"`
	Recording envelope.Hash `cbor:"recording"`
}

type appendCall struct {
	N     uint64 `cbor:"n"`
	At    uint64 `cbor:"at"`
	Bytes []byte `cbor:"bytes"`
}

type segmentCall struct {
	Manifest recording.Manifest `cbor:"manifest"`
}

type segmentAnswer struct {
	Hash envelope.Hash `cbor:"hash"`
}

// attemptCall is about one attempt at a direct path; Attempt 0 is the way itself.
type attemptCall struct {
	Way     uint64 `cbor:"way"`
	Attempt uint64 `cbor:"attempt"`
}

type gatherAnswer struct {
	Description path.Description `cbor:"description"`
}

type connectCall struct {
	Way         uint64           `cbor:"way"`
	Attempt     uint64           `cbor:"attempt"`
	Description path.Description `cbor:"description"`
	Lead        bool             `cbor:"lead"`
}

// respondCall is a handshake, with all that the half must know. With it come this end
// of its path's socket, the other end, and the socket to the relay.
type respondCall struct {
	Session    token.ID        `cbor:"session"`
	TeamFP     envelope.Hash   `cbor:"team_fp"`
	Title      string          `cbor:"title"`
	Life       int64           `cbor:"life"`  // ms
	Grace      int64           `cbor:"grace"` // ms
	Self       bool            `cbor:"self"`
	Agent      key.Public      `cbor:"agent"`
	Door       string          `cbor:"door"`
	Secret     []byte          `cbor:"secret"`
	Away       int64           `cbor:"away"` // ms
	Gate       []string        `cbor:"gate"`
	Errand     []string        `cbor:"errand"`
	Operator   key.Public      `cbor:"operator"`
	BundleHash envelope.Hash   `cbor:"bundle_hash"`
	Evidence   evidenceMessage `cbor:"evidence"`
	MinSuite   uint64          `cbor:"min_suite"`
	HS1        []byte          `cbor:"hs1"`
	Path       keepCall        `cbor:"path"`
}

type respondAnswer struct {
	HS2 []byte `cbor:"hs2"`
}

// returnCall is the first message of an operator who comes back; with it come the files
// of a respondCall.
type returnCall struct {
	Operator   key.Public      `cbor:"operator"`
	BundleHash envelope.Hash   `cbor:"bundle_hash"`
	Evidence   evidenceMessage `cbor:"evidence"`
	MinSuite   uint64          `cbor:"min_suite"`
	HS1        []byte          `cbor:"hs1"`
	Path       keepCall        `cbor:"path"`
}

func (m returnCall) handshake() live.Handshake {
	return live.Handshake{
		Operator: m.Operator, BundleHash: m.BundleHash, Evidence: m.Evidence.evidence(), MinSuite: session.Suite(m.MinSuite),
		Peer: m.Path.Peer, HS1: m.HS1,
	}
}

// attachCall is a channel that wants the session's terminal again.
type attachCall struct {
	BundleHash envelope.Hash       `cbor:"bundle_hash"`
	Said       evidenceMessage     `cbor:"said"`
	Open       channel.OpenMessage `cbor:"open"`
}

type awayCall struct {
	Away bool `cbor:"away"`
}

// watchCall lets somebody watch the session's shell; with it comes this side's end of what
// passes between the two.
type watchCall struct {
	Who   string `cbor:"who"`
	Types bool   `cbor:"types"`
}

// resumeCall is the first message of a resume.
type resumeCall struct {
	Evidence evidenceMessage `cbor:"evidence"`
	RS1      []byte          `cbor:"rs1"`
}

type resumeAnswer struct {
	RS2 []byte `cbor:"rs2"`
}

// moveCall gives the path that the resume goes over to; with it come the files of a
// respondCall.
type moveCall struct {
	Path keepCall `cbor:"path"`
}

type finishNote struct {
	HS3 []byte `cbor:"hs3"`
}

type cutNote struct {
	Reason string `cbor:"reason"`
}

var (
	// errOver: the keeper knows of no such session, or of its end.
	errOver = errors.New("cell: the agent does not know this session any more")
	// errVersion: the keeper is of another version.
	errVersion = errors.New("cell: this session was begun by another version of the agent; open a new one")
	errOther   = errors.New("cell: the other process could not do it")
	// errNoDisk: what must be kept can't be.
	errNoDisk = errors.New("cell: the agent could not write what it must")
)

// failures are the errors that keep their meaning on the way, by code.
var failures = []struct {
	code uint64
	err  error
}{
	{2, link.ErrBusy},
	{3, errOver},
	{4, errVersion},
	{5, path.ErrNoDirect},
	{6, path.ErrCandidate},
	{9, path.ErrAttempt},
	{10, recording.ErrFull},
	{11, errNoDisk},
	{12, session.ErrHandshake},
}

func failureOf(err error) link.Failure {
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return link.Failure{Code: f.code}
		}
	}
	return link.Failure{Code: 1}
}

func errorOf(f link.Failure) error {
	for _, known := range failures {
		if known.code == f.Code {
			return known.err
		}
	}
	return errOther
}

// options are those of one side.
func options(keeper bool) link.Options {
	o := link.Options{Inward: maxOutward, Fail: failureOf, Err: errorOf}
	if keeper {
		o.Inward, o.Rate = maxInward, rate.NewLimiter(callsPerSecond, callsAtOnce)
	}
	return o
}
