package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
)

const (
	// challengeLife is how long a challenge is used again. Relays take theirs for an
	// hour (RFC 8656, section 5), and one that does not costs a round trip.
	challengeLife = 30 * time.Minute
	// knockEvery is the pause between two questions for a challenge that get no
	// answer, of which there are knocks.
	knockEvery = 500 * time.Millisecond
	knocks     = 3
	// maxChallenge bounds realm and nonce together, in bytes.
	maxChallenge = 512
)

// A challenge is what a relay answers to a request without a credential (RFC 8489,
// section 9.2): who knows it authenticates with the first request. It is no secret.
type challenge struct {
	realm stun.Realm
	nonce stun.Nonce
	at    time.Time // when it was given
}

// read takes the challenge that stands in a message.
func (c *challenge) read(m *stun.Message, now time.Time) error {
	var got challenge
	if err := errors.Join(got.realm.GetFrom(m), got.nonce.GetFrom(m)); err != nil {
		return err
	}
	if n := len(got.realm) + len(got.nonce); n > maxChallenge || len(got.nonce) == 0 {
		return fmt.Errorf("path: a challenge of %d bytes, want 1 to %d", n, maxChallenge)
	}
	// They are slices of the message, whose memory is used again.
	*c = challenge{slices.Clone(got.realm), slices.Clone(got.nonce), now}
	return nil
}

// answer is what the relay would say to the request with this transaction id.
func (c *challenge) answer(id [stun.TransactionIDSize]byte) ([]byte, error) {
	m, err := stun.Build(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse),
		stun.ErrorCodeAttribute{Code: stun.CodeUnauthorized, Reason: []byte("known")}, c.nonce, c.realm)
	if err != nil {
		return nil, err
	}
	return m.Raw, nil
}

// A doorway is the socket to a relay as the TURN client has it, which asks for a
// challenge before it shows its credential. Where one is known, the doorway gives that
// answer by itself, and the question is never sent.
type doorway struct {
	net.PacketConn
	hear func([]byte) // takes what the relay would have said
	open atomic.Bool  // there is an allocation: nothing is looked at any more

	mu     sync.Mutex
	known  *challenge // to be used once; nil: there is none
	tried  bool       // it was used
	latest challenge  // that a request has been authenticated with
}

// WriteTo implements [net.PacketConn].
func (d *doorway) WriteTo(p []byte, to net.Addr) (int, error) {
	if !d.open.Load() {
		if answer := d.look(p); answer != nil {
			go d.hear(answer) // the client still holds the request in its hands
			return len(p), nil
		}
	}
	return d.PacketConn.WriteTo(p, to)
}

// look gives the answer to a request that needs not be sent, or nil.
func (d *doorway) look(p []byte) []byte {
	m := &stun.Message{Raw: slices.Clone(p)}
	if !stun.IsMessage(p) || m.Decode() != nil || m.Type != stun.NewType(stun.MethodAllocate, stun.ClassRequest) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.Contains(stun.AttrMessageIntegrity) {
		_ = d.latest.read(m, time.Now())
		return nil
	}
	if d.known == nil {
		return nil
	}
	answer, err := d.known.answer(m.TransactionID)
	d.known, d.tried = nil, true
	if err != nil {
		return nil
	}
	return answer
}

// stale reports whether an opening has failed for a challenge that the relay does not
// take any more. It is forgotten, so another attempt asks for a new one.
func (d *doorway) stale(err error) bool {
	var answer *stun.TurnError
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.tried
	d.tried = false
	return was && errors.As(err, &answer) && (answer.ErrorCodeAttr.Code == stun.CodeStaleNonce || answer.ErrorCodeAttr.Code == stun.CodeUnauthorized)
}

// passed notes that there is an allocation, and gives the challenge that led to it.
func (d *doorway) passed() *challenge {
	d.open.Store(true)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.latest.nonce) == 0 {
		return nil
	}
	c := d.latest
	return &c
}

// challengeOf gives what is known of a relay; nil: nothing.
func (d *Dialer) challengeOf(at carrier.Address) *challenge {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.challenges[at]
	if !ok || time.Since(c.at) > challengeLife {
		return nil
	}
	return &c
}

// learn remembers a relay's challenge.
func (d *Dialer) learn(at carrier.Address, c *challenge) {
	if c == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.challenges[at]; ok && string(old.nonce) == string(c.nonce) {
		return // its age counts from when it was first seen
	}
	if d.challenges == nil || len(d.challenges) >= maxWorked {
		d.challenges = map[carrier.Address]challenge{}
	}
	d.challenges[at] = *c
}

// Knock asks the relay at addr (see [carrier.Parse]) over UDP for what it wants to be
// authenticated with, so that an Open that follows needs one round trip less. It opens
// nothing there and shows no credential, and what comes of it does not matter: a relay
// that does not answer costs the time until ctx ends, or a second and a half.
func (d *Dialer) Knock(ctx context.Context, addr string) {
	at, err := carrier.Parse(addr)
	if err != nil || d.challengeOf(at) != nil {
		return
	}
	conn, err := d.Carrier.Dial(ctx, at, carrier.UDP)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for range knocks {
		c, err := knock(conn)
		if err == nil {
			d.learn(at, c)
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// knock is one question for a challenge.
func knock(conn *carrier.Conn) (*challenge, error) {
	ask, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
		stun.RawAttribute{Type: stun.AttrRequestedTransport, Length: 4, Value: []byte{17, 0, 0, 0}}, // UDP
		stun.Fingerprint)
	if err != nil {
		return nil, err
	}
	if _, err := conn.WriteTo(ask.Raw, conn.Relay); err != nil {
		return nil, err
	}
	until := time.Now().Add(knockEvery)
	buf := make([]byte, maxDatagram)
	for {
		if err := conn.SetReadDeadline(until); err != nil {
			return nil, err
		}
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return nil, err
		}
		m := &stun.Message{Raw: slices.Clone(buf[:n])}
		if !stun.IsMessage(m.Raw) || m.Decode() != nil || m.TransactionID != ask.TransactionID {
			continue
		}
		c := new(challenge)
		return c, c.read(m, time.Now())
	}
}
