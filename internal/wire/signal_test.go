package wire

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

var someHash = envelope.Sum([]byte("something"))

var agentSignals = []Signal{
	SignalHello{Registration: []byte("registration")},
	SignalHeartbeat{Heartbeat: []byte("heartbeat")},
	SignalAnswer{SessionID: token.ID{1}, HS2: []byte("hs2"), Candidate: "127.0.0.1:2"},
	SignalRefuse{SessionID: token.ID{1}, Reason: "busy"},
}

var serverSignals = []Signal{
	SignalWelcome{Time: 1, HeadSeq: 2, HeadHash: someHash, Heartbeat: 15},
	SignalOffer{SessionID: token.ID{1}, Exp: 1, Sealed: []byte("sealed"), HS1: []byte("hs1"), Candidate: "127.0.0.1:1"},
	SignalFinish{SessionID: token.ID{1}, HS3: []byte("hs3")},
	SignalBye{Reason: ByeClock},
	SignalRoster{HeadSeq: 2, HeadHash: someHash, Statements: [][]byte{[]byte("statement")}},
}

func TestSignals(t *testing.T) {
	types := map[byte]bool{}
	for _, side := range []struct {
		signals    []Signal
		own, other func([]byte) (Signal, error)
	}{{agentSignals, ParseAgentSignal, ParseServerSignal}, {serverSignals, ParseServerSignal, ParseAgentSignal}} {
		for _, s := range side.signals {
			b, err := EncodeSignal(s)
			if err != nil {
				t.Fatalf("%T: %v", s, err)
			}
			if types[b[0]] {
				t.Fatalf("%T: type %d twice", s, b[0])
			}
			types[b[0]] = true
			got, err := side.own(b)
			if err != nil || !reflect.DeepEqual(got, s) {
				t.Fatalf("%T: %+v, %v", s, got, err)
			}
			if _, err := side.other(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T from the wrong side: %v", s, err)
			}
			for i := range b {
				if _, err := side.own(b[:i]); !errors.Is(err, ErrMalformed) {
					t.Errorf("%T cut at %d: %v", s, i, err)
				}
			}
			if _, err := side.own(append(bytes.Clone(b), 0)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T with a byte more: %v", s, err)
			}
		}
	}
}

func TestSignalBounds(t *testing.T) {
	big := make([]byte, token.MaxSealedBundle+1)
	long := strings.Repeat("a", 257)
	for _, s := range []Signal{
		SignalHello{}, SignalHello{Registration: make([]byte, envelope.MaxSize+1)}, SignalHeartbeat{},
		SignalAnswer{HS2: []byte("x")}, SignalAnswer{SessionID: token.ID{1}}, SignalAnswer{SessionID: token.ID{1}, HS2: make([]byte, MaxHandshake+1)},
		SignalAnswer{SessionID: token.ID{1}, HS2: []byte("x"), Candidate: long}, SignalAnswer{SessionID: token.ID{1}, HS2: []byte("x"), Candidate: "\xff"},
		SignalRefuse{}, SignalRefuse{SessionID: token.ID{1}, Reason: long},
		SignalWelcome{}, SignalWelcome{Time: 1, HeadHash: someHash, Heartbeat: 3601},
		SignalOffer{SessionID: token.ID{1}, Exp: 1, Sealed: big, HS1: []byte("x")}, SignalOffer{SessionID: token.ID{1}, Sealed: []byte("x"), HS1: []byte("x")},
		SignalFinish{SessionID: token.ID{1}}, SignalBye{}, SignalBye{Reason: "whatever"},
	} {
		if _, err := EncodeSignal(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("%T: %v", s, err)
		}
	}
	// The largest offer that an operator may make still fits into one message.
	o := Offer{SessionID: token.ID{1}, Agent: key.Kid{1}, Sealed: big[1:], HS1: make([]byte, MaxHandshake), Candidate: long[1:]}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeSignal(SignalOffer{SessionID: o.SessionID, Exp: 1 << 60, Sealed: o.Sealed, HS1: o.HS1, Candidate: o.Candidate}); err != nil {
		t.Fatal(err)
	}
	o.Agent = key.Kid{}
	if err := o.Check(); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	if err := (Finish{}).Check(); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func FuzzSignals(f *testing.F) {
	for _, s := range append(agentSignals, serverSignals...) {
		b, err := EncodeSignal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (Signal, error){ParseAgentSignal, ParseServerSignal} {
			s, err := parse(b)
			if err != nil {
				continue
			}
			if again, err := EncodeSignal(s); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%T: parse and encode differ: %v", s, err)
			}
		}
	})
}

// silent is an agent that nothing should reach.
type silent struct {
	t        *testing.T
	register error
}

func (s silent) Register() ([]byte, error) {
	if s.register != nil {
		return nil, s.register
	}
	id := key.IdentityFromSeed([32]byte{1})
	return envelope.Sign("test", struct{}{}, id)
}
func (s silent) Heartbeat(envelope.Hash, uint64) ([]byte, error) { return nil, errors.New("no") }
func (s silent) Welcome(SignalWelcome)                           {}
func (s silent) Finish(SignalFinish)                             { s.t.Error("finish") }
func (s silent) Roster(context.Context, SignalRoster)            { s.t.Error("roster") }
func (s silent) Offer(context.Context, SignalOffer) (SignalAnswer, error) {
	s.t.Error("offer")
	return SignalAnswer{}, nil
}

// A server that does not keep to the protocol, or is none, ends the connection
// with an error that says so.
func TestDialAgentHostileServers(t *testing.T) {
	ctx := context.Background()
	encode := func(s Signal) []byte {
		b, err := EncodeSignal(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		messages [][]byte
		want     error
	}{
		"offer before the welcome": {[][]byte{encode(serverSignals[1])}, ErrMalformed},
		"noise":                    {[][]byte{[]byte("noise")}, ErrMalformed},
		"its own kind":             {[][]byte{encode(agentSignals[0])}, ErrMalformed},
		"two welcomes":             {[][]byte{encode(serverSignals[0]), encode(serverSignals[0])}, ErrMalformed},
		"too much":                 {[][]byte{make([]byte, MaxSignal+1)}, ErrUnavailable},
		"hangs up":                 {nil, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{SignalProtocol}})
				if err != nil {
					return
				}
				defer ws.Close(websocket.StatusGoingAway, "")
				ws.Read(ctx)
				for _, m := range c.messages {
					ws.Write(ctx, websocket.MessageBinary, m)
				}
			}))
			defer srv.Close()
			err := DialAgent(ctx, AgentOptions{URL: srv.URL, Presence: silent{t: t}}, silent{t: t})
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("no WebSocket", func(t *testing.T) {
		srv := httptest.NewServer(http.NotFoundHandler())
		defer srv.Close()
		if err := DialAgent(ctx, AgentOptions{URL: srv.URL, Presence: silent{t: t}}, silent{t: t}); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	})
	t.Run("another protocol", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ws, err := websocket.Accept(w, r, nil); err == nil {
				ws.Read(ctx)
			}
		}))
		defer srv.Close()
		if err := DialAgent(ctx, AgentOptions{URL: srv.URL, Presence: silent{t: t}}, silent{t: t}); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	})
	t.Run("plain http beyond loopback", func(t *testing.T) {
		if err := DialAgent(ctx, AgentOptions{URL: "http://rv.example.com", Presence: silent{t: t}}, silent{t: t}); !errors.Is(err, ErrPlainHTTP) {
			t.Fatal(err)
		}
	})
	t.Run("no key to sign with", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{SignalProtocol}}); err == nil {
				ws.Read(ctx)
			}
		}))
		defer srv.Close()
		no := errors.New("no key")
		if err := DialAgent(ctx, AgentOptions{URL: srv.URL, Presence: silent{t: t, register: no}}, silent{t: t}); !errors.Is(err, no) {
			t.Fatal(err)
		}
	})
}
