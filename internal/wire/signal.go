package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
)

// SignalPath is where agents dial rendezvousd.
const SignalPath = "/v1/agent"

// SignalProtocol is the WebSocket subprotocol, and with it the version.
const SignalProtocol = "tucdesk-signal-v1"

// Limits of the signalling.
const (
	MaxSignal    = 128 << 10 // bytes of one message
	MaxHandshake = 16 << 10  // bytes of one handshake message
	maxCandidate = 256       // bytes of host:port
	maxWhy       = 256       // bytes of a reason
)

// A Signal is one message between an agent and rendezvousd. On the wire it is
// one binary WebSocket message: the byte of its type, then its deterministic
// CBOR.
//
//	agent -> rendezvousd            rendezvousd -> agent
//	1 SignalHello, first and once   16 SignalWelcome, answers the hello
//	2 SignalHeartbeat               17 SignalOffer
//	3 SignalAnswer, to an offer     18 SignalFinish, after the answer
//	4 SignalRefuse, to an offer     19 SignalBye, the last one
//	                                20 SignalRoster, to one that is behind
type Signal interface {
	signalType() byte
	check() error
}

// SignalHello carries the agent's token.Registration envelope.
type SignalHello struct {
	Registration []byte `cbor:"registration"`
}

// SignalHeartbeat carries the agent's token.Heartbeat envelope.
type SignalHeartbeat struct {
	Heartbeat []byte `cbor:"heartbeat"`
}

// SignalAnswer is the agent's handshake message to an offer.
type SignalAnswer struct {
	SessionID token.ID `cbor:"session_id"`
	HS2       []byte   `cbor:"hs2"`
	Candidate string   `cbor:"candidate"` // the agent's relayed address, host:port; empty: the path stays
}

// SignalRefuse says that the agent won't answer an offer. Its reason passes
// rendezvousd: it names no command, no rule and no person.
type SignalRefuse struct {
	SessionID token.ID `cbor:"session_id"`
	Reason    string   `cbor:"reason"`
}

// ReasonGone is the reason of a SignalRefuse to the resume of a session that the
// agent does not have.
const ReasonGone = "gone: this session is not here any more: it has ended, its time was over, or the agent was started again"

// ReasonTaken is ReasonGone where the reason is that another client of the member's has
// attached the session. Who does not know it reads that the session is gone.
const ReasonTaken = "taken: another client has attached it; " + ReasonGone

// IsGone reports whether the rendezvous says that an agent has answered that reason. It
// could say so by itself, as it can keep silent.
func IsGone(err error, reason string) bool {
	var p *ProblemError
	return errors.As(err, &p) && errors.Is(err, ErrDenied) && strings.HasSuffix(p.Detail, reason)
}

// SignalWelcome says that the agent is registered. Nobody signs it: it is worth
// a log line, and a reason to fetch a newer roster.
type SignalWelcome struct {
	Time      int64         `cbor:"time"`      // unix seconds
	HeadSeq   uint64        `cbor:"head_seq"`  // newest roster head that rendezvousd knows
	HeadHash  envelope.Hash `cbor:"head_hash"` // of that statement
	Heartbeat int64         `cbor:"heartbeat"` // seconds between two heartbeats
}

// SignalOffer is an operator's wish for a session, or for the resume of one that
// stands. Whether it is worth anything stands inside the sealed bundle; a resume has
// none, and stands by its handshake message.
type SignalOffer struct {
	SessionID token.ID `cbor:"session_id"`
	Exp       int64    `cbor:"exp"`    // unix seconds; the operator waits no longer
	Sealed    []byte   `cbor:"sealed"` // empty in a resume
	HS1       []byte   `cbor:"hs1"`
	Candidate string   `cbor:"candidate"` // the operator's relayed address, host:port; empty: the path stays
}

// SignalFinish is the operator's last handshake message.
type SignalFinish struct {
	SessionID token.ID `cbor:"session_id"`
	HS3       []byte   `cbor:"hs3"`
}

// SignalRoster tells an agent of roster statements that it lacks. They stand by
// their signatures. Where they do not follow what the agent has, it asks apid.
type SignalRoster struct {
	HeadSeq    uint64        `cbor:"head_seq"`
	HeadHash   envelope.Hash `cbor:"head_hash"`
	Statements [][]byte      `cbor:"statements"` // the newest ones, in order; may be empty
}

// SignalBye says why the connection ends.
type SignalBye struct {
	Reason ByeReason `cbor:"reason"`
}

// A ByeReason tells the agent what to do next.
type ByeReason string

// The reasons of a bye.
const (
	ByeUnknown  ByeReason = "unknown"  // not a live agent of that team's roster
	ByeRefused  ByeReason = "refused"  // registration or heartbeat is not valid here
	ByeClock    ByeReason = "clock"    // the time in it is too far from the server's
	ByeReplaced ByeReason = "replaced" // a newer registration of the same key took over
	ByeBusy     ByeReason = "busy"     // too many agents, or the roster can't be had; come back later
	ByeStopping ByeReason = "stopping" // the server goes down; dial again
)

func (SignalHello) signalType() byte     { return 1 }
func (SignalHeartbeat) signalType() byte { return 2 }
func (SignalAnswer) signalType() byte    { return 3 }
func (SignalRefuse) signalType() byte    { return 4 }
func (SignalWelcome) signalType() byte   { return 16 }
func (SignalOffer) signalType() byte     { return 17 }
func (SignalFinish) signalType() byte    { return 18 }
func (SignalBye) signalType() byte       { return 19 }
func (SignalRoster) signalType() byte    { return 20 }

func (s SignalHello) check() error     { return bounded("registration", s.Registration, envelope.MaxSize) }
func (s SignalHeartbeat) check() error { return bounded("heartbeat", s.Heartbeat, envelope.MaxSize) }

func (s SignalAnswer) check() error {
	return handshake(s.SessionID, "hs2", s.HS2, s.Candidate)
}

func (s SignalRefuse) check() error {
	if s.SessionID.IsZero() || len(s.Reason) > maxWhy || !utf8.ValidString(s.Reason) {
		return badSignal("refuse")
	}
	return nil
}

func (s SignalWelcome) check() error {
	if s.Time <= 0 || s.HeadHash.IsZero() || s.Heartbeat < 1 || s.Heartbeat > 3600 {
		return badSignal("welcome")
	}
	return nil
}

func (s SignalOffer) check() error {
	if s.Exp <= 0 {
		return badSignal("exp")
	}
	if len(s.Sealed) > token.MaxSealedBundle {
		return badSignal("sealed")
	}
	return handshake(s.SessionID, "hs1", s.HS1, s.Candidate)
}

func (s SignalFinish) check() error { return handshake(s.SessionID, "hs3", s.HS3, "") }

func (s SignalRoster) check() error {
	if s.HeadHash.IsZero() || len(s.Statements) > MaxStatements {
		return badSignal("roster")
	}
	for _, st := range s.Statements {
		if err := bounded("statement", st, envelope.MaxSize); err != nil {
			return err
		}
	}
	return nil
}

func (s SignalBye) check() error {
	switch s.Reason {
	case ByeUnknown, ByeRefused, ByeClock, ByeReplaced, ByeBusy, ByeStopping:
		return nil
	}
	return badSignal("reason")
}

// Check answers ErrMalformed unless the offer fits into a SignalOffer.
func (o Offer) Check() error {
	if o.Agent.IsZero() {
		return badSignal("agent")
	}
	return SignalOffer{SessionID: o.SessionID, Exp: 1, Sealed: o.Sealed, HS1: o.HS1, Candidate: o.Candidate}.check()
}

// Check answers ErrMalformed unless the message fits into a SignalFinish.
func (f Finish) Check() error { return bounded("hs3", f.HS3, MaxHandshake) }

func handshake(id token.ID, name string, message []byte, candidate string) error {
	if id.IsZero() || len(candidate) > maxCandidate || !utf8.ValidString(candidate) {
		return badSignal("session_id or candidate")
	}
	return bounded(name, message, MaxHandshake)
}

func bounded(name string, b []byte, limit int) error {
	if len(b) == 0 || len(b) > limit {
		return fmt.Errorf("%w: signal: %s has %d bytes, want 1 to %d", ErrMalformed, name, len(b), limit)
	}
	return nil
}

func badSignal(what string) error {
	return fmt.Errorf("%w: signal: %s", ErrMalformed, what)
}

// EncodeSignal gives the bytes of one WebSocket message.
func EncodeSignal(s Signal) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	b, err := envelope.Marshal(s)
	if err != nil {
		return nil, err
	}
	b = append([]byte{s.signalType()}, b...)
	if len(b) > MaxSignal {
		return nil, fmt.Errorf("%w: signal: %d bytes, at most %d", ErrMalformed, len(b), MaxSignal)
	}
	return b, nil
}

// ParseAgentSignal reads a message of an agent: SignalHello, SignalHeartbeat,
// SignalAnswer or SignalRefuse. It is the inverse of EncodeSignal.
func ParseAgentSignal(b []byte) (Signal, error) {
	switch signalByte(b) {
	case 1:
		return parseSignal[SignalHello](b)
	case 2:
		return parseSignal[SignalHeartbeat](b)
	case 3:
		return parseSignal[SignalAnswer](b)
	case 4:
		return parseSignal[SignalRefuse](b)
	}
	return nil, badSignal("unknown type")
}

// ParseServerSignal reads a message of rendezvousd: SignalWelcome, SignalOffer,
// SignalFinish, SignalBye or SignalRoster. It is the inverse of EncodeSignal.
func ParseServerSignal(b []byte) (Signal, error) {
	switch signalByte(b) {
	case 16:
		return parseSignal[SignalWelcome](b)
	case 17:
		return parseSignal[SignalOffer](b)
	case 18:
		return parseSignal[SignalFinish](b)
	case 19:
		return parseSignal[SignalBye](b)
	case 20:
		return parseSignal[SignalRoster](b)
	}
	return nil, badSignal("unknown type")
}

// signalByte gives the type; 0, which no message has, for what can't be one.
func signalByte(b []byte) byte {
	if len(b) == 0 || len(b) > MaxSignal {
		return 0
	}
	return b[0]
}

func parseSignal[S Signal](b []byte) (Signal, error) {
	var s S
	if err := envelope.Unmarshal(b[1:], &s); err != nil {
		return nil, fmt.Errorf("%w: signal: %w", ErrMalformed, err)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// A Presence is what an agent signs to be reachable. The private key stays with
// whoever implements it.
type Presence interface {
	// Register gives a fresh token.Registration envelope for this rendezvous.
	Register() ([]byte, error)
	// Heartbeat gives the token.Heartbeat envelope with this number, which
	// continues the registration with this hash.
	Heartbeat(registration envelope.Hash, seq uint64) ([]byte, error)
}
