package halves

import (
	"errors"
	"net/netip"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// An op names what a call or a note is about. The table is in SPEC.md.
type op byte

// What the network half asks.
const (
	opRegister  op = 1
	opHeartbeat op = 2
	opRequest   op = 3
	opOffer     op = 4
	opHead      op = 5
	opGenesis   op = 6
	opLearn     op = 7
	opConfirm   op = 8
	opOwed      op = 9
	opHanded    op = 10
	opRecorded  op = 11
	opUploaded  op = 12
	opRefused   op = 13
)

// What the network half tells.
const (
	opFinish op = 32
	opGauge  op = 33
	opLost   op = 34
)

// What the privileged side asks.
const (
	opSetup   op = 64
	opOpen    op = 65
	opPermit  op = 66
	opGather  op = 67
	opConnect op = 68
	opRefresh op = 69
	opRest    op = 70
	opLast    op = 71
)

// What the privileged side tells.
const (
	opMore         op = 96
	opMoreRecorded op = 97
	opLeave        op = 98
	opClose        op = 99
)

// signedAnswer is a signed envelope.
type signedAnswer struct {
	Envelope []byte `cbor:"envelope"`
}

type heartbeatCall struct {
	Registration envelope.Hash `cbor:"registration"`
	Seq          uint64        `cbor:"seq"`
}

type requestCall struct {
	Method     string        `cbor:"method"`
	URL        string        `cbor:"url"`
	BodySHA256 envelope.Hash `cbor:"body_sha256"`
}

type requestAnswer struct {
	Header string `cbor:"header"`
}

// headMessage is a roster head; Known is false before the genesis.
type headMessage struct {
	Known bool          `cbor:"known"`
	Seq   uint64        `cbor:"seq"`
	Hash  envelope.Hash `cbor:"hash"`
}

type genesisCall struct {
	Genesis []byte `cbor:"genesis"`
}

type learnCall struct {
	Statements [][]byte `cbor:"statements"`
}

type owedCall struct {
	N uint64 `cbor:"n"`
}

type owedEntry struct {
	Seq   uint64 `cbor:"seq"`
	Entry []byte `cbor:"entry"`
}

type owedAnswer struct {
	Entries []owedEntry `cbor:"entries"`
}

type handedCall struct {
	Seq uint64 `cbor:"seq"`
}

// recordedAnswer is a segment; Found is false if there is none.
type recordedAnswer struct {
	Found    bool     `cbor:"found"`
	Session  token.ID `cbor:"session"`
	N        uint64   `cbor:"n"`
	Manifest []byte   `cbor:"manifest"`
	Segment  []byte   `cbor:"segment"`
}

// segmentCall names a segment that was handed out, and, in opRefused, why apid
// does not want it.
type segmentCall struct {
	Session token.ID `cbor:"session"`
	N       uint64   `cbor:"n"`
	Code    uint64   `cbor:"code"`
}

// The gauges.
const (
	gaugeOnline uint64 = 1
	gaugeOwed   uint64 = 2
	gaugeHead   uint64 = 3
)

type gaugeNote struct {
	Gauge uint64 `cbor:"gauge"`
	Value uint64 `cbor:"value"`
}

// setupCall is all that the network half has to know.
type setupCall struct {
	Team       string          `cbor:"team"` // routing name
	API        string          `cbor:"api"`
	Rendezvous string          `cbor:"rendezvous"`
	Pins       []envelope.Hash `cbor:"pins"`
	Poll       uint64          `cbor:"poll"` // ms
	Demo       bool            `cbor:"demo"`
}

// openCall opens a path; with it come the session's socket, and, when Again is set,
// the socket to the relay that another network half has left.
type openCall struct {
	Way      uint64 `cbor:"way"`
	Again    bool   `cbor:"again"`
	Relay    string `cbor:"relay"` // host:port
	Username string `cbor:"username"`
	Password string `cbor:"password"`
}

// openAnswer comes with the socket to the relay, unless Again was set.
type openAnswer struct {
	Addr netip.AddrPort `cbor:"addr"` // where the peer reaches this side
}

type permitCall struct {
	Way  uint64         `cbor:"way"`
	Peer netip.AddrPort `cbor:"peer"`
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

// A failure is why a call failed. Text is empty but in a refusal that the operator
// is to read, which only the privileged side sends.
type failure struct {
	Code uint64 `cbor:"code"`
	Text string `cbor:"text"`
}

// codeOther is a failure of which nothing more is said.
const codeOther = 1

const codeRefuse = 3

var errBusy = errors.New("halves: too many calls at once")

// failures are the errors that keep their meaning on the way, by code.
var failures = []struct {
	code uint64
	err  error
}{
	{2, errBusy},
	{4, uplink.ErrHopeless},
	{5, path.ErrNoDirect},
	{6, path.ErrCandidate},
	{7, path.ErrRefused},
	{8, path.ErrUnreachable},
	{9, path.ErrAttempt},
	{10, path.ErrNotPermitted},
	{16, wire.ErrNotFound},
	{17, wire.ErrDenied},
	{18, wire.ErrConflict},
	{19, wire.ErrMalformed},
	{20, wire.ErrTooLarge},
}

// failureOf says what passes of an error. strict: the privileged side says it.
func failureOf(err error, strict bool) failure {
	var refuse *wire.RefuseError
	if strict && errors.As(err, &refuse) {
		return failure{Code: codeRefuse, Text: refuse.Reason}
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return failure{Code: f.code}
		}
	}
	return failure{Code: codeOther}
}

// err is the inverse. strict: the privileged side reads it, and no text.
func (f failure) err(strict bool) error {
	if f.Code == codeRefuse && !strict {
		return &wire.RefuseError{Reason: f.Text}
	}
	return byCode(f.Code)
}

// byCode gives the error that a code stands for.
func byCode(code uint64) error {
	for _, f := range failures {
		if f.code == code {
			return f.err
		}
	}
	return errors.New("halves: the other half could not do it")
}
