//go:build unix

package halves

import (
	"errors"
	"net/netip"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// maxInward and maxOutward bound a frame's body towards the privileged side
	// and away from it, in bytes. An offer and a bounded batch of statements come
	// in; a segment of a recording goes out.
	maxInward  = 256 << 10
	maxOutward = 9 << 20
	// callsPerSecond and callsAtOnce bound the calls and notes of the network half:
	// signing and checking cost time.
	callsPerSecond = 200
	callsAtOnce    = 400
)

// What the network half asks.
const (
	opRegister  link.Op = 1
	opHeartbeat link.Op = 2
	opRequest   link.Op = 3
	opOffer     link.Op = 4
	opHead      link.Op = 5
	opGenesis   link.Op = 6
	opLearn     link.Op = 7
	opConfirm   link.Op = 8
	opOwed      link.Op = 9
	opHanded    link.Op = 10
	opRecorded  link.Op = 11
	opUploaded  link.Op = 12
	opRefused   link.Op = 13
)

// What the network half tells.
const (
	opFinish link.Op = 32
	opGauge  link.Op = 33
	opLost   link.Op = 34
)

// What the privileged side asks.
const (
	opSetup   link.Op = 64
	opOpen    link.Op = 65
	opPermit  link.Op = 66
	opGather  link.Op = 67
	opConnect link.Op = 68
	opRefresh link.Op = 69
	opRest    link.Op = 70
	opLast    link.Op = 71
	opProve   link.Op = 72
)

// What the privileged side tells.
const (
	opMore         link.Op = 96
	opMoreRecorded link.Op = 97
	opLeave        link.Op = 98
	opClose        link.Op = 99
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
	Stores     []string        `cbor:"stores"` // that recordings may be uploaded to
}

// openCall opens a path; with it come the session's socket, and, when Again is set,
// the socket to the relay over UDP that another network half has left, if it had one.
type openCall struct {
	Way      uint64 `cbor:"way"`
	Again    bool   `cbor:"again"`
	Relay    string `cbor:"relay"` // host:port
	Username string `cbor:"username"`
	Password string `cbor:"password"`
}

// openAnswer comes with the socket to the relay, unless that is a stream or Again was
// set.
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

// proveCall asks for the proof that the audit log of Newer entries extends that of
// Older.
type proveCall struct {
	Older uint64 `cbor:"older"`
	Newer uint64 `cbor:"newer"`
}

type proveAnswer struct {
	Proof []envelope.Hash `cbor:"proof"`
}

// codeOther is a failure of which nothing more is said.
const codeOther = 1

const codeRefuse = 3

// failures are the errors that keep their meaning on the way, by code.
var failures = []struct {
	code uint64
	err  error
}{
	{2, link.ErrBusy},
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
func failureOf(err error, strict bool) link.Failure {
	var refuse *wire.RefuseError
	if strict && errors.As(err, &refuse) {
		return link.Failure{Code: codeRefuse, Text: refuse.Reason}
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return link.Failure{Code: f.code}
		}
	}
	return link.Failure{Code: codeOther}
}

// errorOf is the inverse. strict: the privileged side reads it, and no text.
func errorOf(f link.Failure, strict bool) error {
	if f.Code == codeRefuse && !strict {
		return &wire.RefuseError{Reason: f.Text}
	}
	return byCode(f.Code)
}

// options are those of one side. strict is the privileged one, which bounds what it
// is asked, says why it refuses, and believes no text.
func options(strict bool) link.Options {
	o := link.Options{
		Inward: maxOutward,
		Fail:   func(err error) link.Failure { return failureOf(err, strict) },
		Err:    func(f link.Failure) error { return errorOf(f, strict) },
	}
	if strict {
		o.Inward, o.Rate = maxInward, rate.NewLimiter(callsPerSecond, callsAtOnce)
	}
	return o
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
