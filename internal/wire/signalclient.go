package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

const (
	signalDial  = 15 * time.Second // to connect, upgrade and be welcomed
	signalWrite = 10 * time.Second // to send one message
	maxOffers   = 32               // offers that one agent works on at a time; more are dropped
)

// A ByeError means that rendezvousd ended the connection and said why.
type ByeError struct{ Reason ByeReason }

func (e *ByeError) Error() string {
	next := "dialling again later may help"
	switch e.Reason {
	case ByeUnknown:
		next = "an admin adds this agent to the roster: tucdesk pair"
	case ByeRefused:
		next = "check the rendezvous URL and the team in this agent's configuration"
	case ByeClock:
		next = "set this machine's clock: it is more than a minute off"
	case ByeReplaced:
		next = "another program registers with this agent's key; if it is not yours, an admin revokes the key: tucdesk roster remove"
	}
	return fmt.Sprintf("wire: rendezvous ended the connection (%s); %s", e.Reason, next)
}

// A RefuseError from AgentHandler.Offer tells the operator the reason, by way of
// rendezvousd, which reads it. Any other error is silence.
type RefuseError struct{ Reason string }

func (e *RefuseError) Error() string { return "wire: offer refused: " + e.Reason }

// AgentOptions are what an agent needs to dial.
type AgentOptions struct {
	URL      string       // of the rendezvous: scheme and host
	Presence Presence     // signs
	HTTP     *http.Client // nil: a client with bounds of its own
}

// An AgentHandler is what an agent does with what comes.
type AgentHandler interface {
	// Welcome is called once, when the agent is registered.
	Welcome(SignalWelcome)
	// Offer answers an operator's offer. It is called in a goroutine of its
	// own; ctx ends with the offer's time or the connection. An error is
	// silence towards the operator, unless it is a *RefuseError.
	Offer(ctx context.Context, o SignalOffer) (SignalAnswer, error)
	// Finish gets the last handshake message of an offer that was answered. It
	// must not block: messages come in order.
	Finish(SignalFinish)
	// Roster gets statements that this agent may lack. It is called in a
	// goroutine of its own, one at a time; a heartbeat, which names the head
	// that the agent has then, follows at once.
	Roster(context.Context, SignalRoster)
}

// DialAgent registers an agent with a rendezvous and serves what comes until the
// connection or ctx ends. It always returns an error that says why: ctx.Err(), a
// *ByeError, or ErrUnavailable. The caller dials again, after a random pause.
func DialAgent(ctx context.Context, o AgentOptions, h AgentHandler) error {
	base, err := ParseBase(o.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := dialSignal(ctx, base.String(), httpClient(o.HTTP))
	if err != nil {
		return err
	}
	defer c.ws.CloseNow()
	beat, err := c.register(ctx, o.Presence, h)
	if err != nil {
		return err
	}
	var helpers sync.WaitGroup
	defer func() { cancel(); helpers.Wait() }()
	now := make(chan struct{}, 1)
	helpers.Go(func() { c.heartbeats(ctx, o.Presence, beat, now) })
	// News that come while two wait are not lost: the next heartbeat shows the
	// server what this agent lacks.
	news := make(chan SignalRoster, 2)
	helpers.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-news:
				h.Roster(ctx, s)
				select {
				case now <- struct{}{}:
				default:
				}
			}
		}
	})
	return c.serve(ctx, h, news)
}

type signalConn struct {
	ws           *websocket.Conn
	host         string
	registration envelope.Hash
}

func dialSignal(ctx context.Context, base string, client *http.Client) (*signalConn, error) {
	ctx, cancel := context.WithTimeout(ctx, signalDial)
	defer cancel()
	// A client time-out would cut the connection later, so it has none of its own.
	client.Timeout = 0
	if t, ok := client.Transport.(*http.Transport); ok {
		// WebSockets are an upgrade of HTTP/1.1, and a server that offers
		// HTTP/2 too would choose that.
		t = t.Clone()
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
		client.Transport = t
	}
	ws, _, err := websocket.Dial(ctx, base+SignalPath, &websocket.DialOptions{
		HTTPClient:   client,
		Subprotocols: []string{SignalProtocol},
	})
	if err != nil {
		return nil, noAnswer(base, err)
	}
	ws.SetReadLimit(MaxSignal)
	if ws.Subprotocol() != SignalProtocol {
		ws.CloseNow()
		return nil, noAnswer(base, errors.New("it does not speak "+SignalProtocol))
	}
	return &signalConn{ws: ws, host: base}, nil
}

// register says hello and waits for the welcome. It gives the pause between two
// heartbeats.
func (c *signalConn) register(ctx context.Context, p Presence, h AgentHandler) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, signalDial)
	defer cancel()
	registration, err := p.Register()
	if err != nil {
		return 0, fmt.Errorf("wire: sign the registration: %w", err)
	}
	u, err := envelope.Parse(registration)
	if err != nil {
		return 0, fmt.Errorf("wire: registration: %w", err)
	}
	c.registration = envelope.Sum(u.InsecurePayload())
	if err := c.send(ctx, SignalHello{Registration: registration}); err != nil {
		return 0, err
	}
	s, err := c.receive(ctx)
	if err != nil {
		return 0, err
	}
	switch s := s.(type) {
	case SignalWelcome:
		h.Welcome(s)
		return time.Duration(s.Heartbeat) * time.Second, nil
	case SignalBye:
		return 0, &ByeError{s.Reason}
	}
	return 0, badSignal("welcome expected")
}

// heartbeats sends one at a time, in time and whenever now says so, until ctx
// ends. A server that does not take one,
// or does not answer the ping after it, is gone: then serve ends too.
func (c *signalConn) heartbeats(ctx context.Context, p Presence, every time.Duration, now <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
		}
		b, err := p.Heartbeat(c.registration, seq)
		if err == nil {
			err = c.send(ctx, SignalHeartbeat{Heartbeat: b})
		}
		if err == nil {
			err = c.ping(ctx)
		}
		if err != nil {
			c.ws.CloseNow()
			return
		}
	}
}

func (c *signalConn) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, signalWrite)
	defer cancel()
	return c.ws.Ping(ctx)
}

func (c *signalConn) serve(ctx context.Context, h AgentHandler, news chan<- SignalRoster) error {
	slots := make(chan struct{}, maxOffers)
	defer func() {
		for range maxOffers { // until every handler has returned
			slots <- struct{}{}
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		s, err := c.receive(ctx)
		if err != nil {
			return err
		}
		switch s := s.(type) {
		case SignalOffer:
			select {
			case slots <- struct{}{}:
				go func() {
					defer func() { <-slots }()
					c.offer(ctx, h, s)
				}()
			default: // the operator's offer times out
			}
		case SignalFinish:
			h.Finish(s)
		case SignalRoster:
			select {
			case news <- s:
			default:
			}
		case SignalBye:
			return &ByeError{s.Reason}
		case SignalWelcome:
			return badSignal("a second welcome")
		}
	}
}

// maxOfferTime bounds how long an agent works on an offer, whatever its exp.
const maxOfferTime = 15 * time.Second

func (c *signalConn) offer(ctx context.Context, h AgentHandler, o SignalOffer) {
	ctx, cancel := context.WithTimeout(ctx, maxOfferTime)
	defer cancel()
	answer, err := h.Offer(ctx, o)
	var refuse *RefuseError
	switch {
	case err == nil:
		answer.SessionID = o.SessionID
		c.send(ctx, answer) // a failure ends the connection, which serve sees
	case errors.As(err, &refuse):
		c.send(ctx, SignalRefuse{SessionID: o.SessionID, Reason: refuse.Reason})
	}
}

func (c *signalConn) send(ctx context.Context, s Signal) error {
	b, err := EncodeSignal(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, signalWrite)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		return noAnswer(c.host, err)
	}
	return nil
}

func (c *signalConn) receive(ctx context.Context) (Signal, error) {
	typ, b, err := c.ws.Read(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, noAnswer(c.host, err)
	case typ != websocket.MessageBinary:
		return nil, badSignal("not a binary message")
	}
	return ParseServerSignal(b)
}
