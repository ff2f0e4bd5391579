//go:build unix

package host

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A session whose path is gone goes on over another one, with the program that it had.
// Nobody else resumes it, and no message twice.
func TestResume(t *testing.T) {
	w := newWorld(t)
	w.start()
	opened := false
	e := w.try(attempt{argv: []string{"cat"}, stdin: "stream", grace: 10 * time.Minute, patience: time.Minute, drive: func(mux *channel.Mux, cat *channel.Channel) {
		opened = true
		says := func(text string) {
			t.Helper()
			_, err := io.WriteString(cat, text)
			w.must(err)
			got := make([]byte, len(text))
			_, err = io.ReadFull(cat, got)
			w.must(err)
			if string(got) != text {
				t.Fatalf("%q came back for %q", got, text)
			}
		}
		says("before")
		config, id := w.last.config, w.last.offer.SessionID
		offer := func(rs1 []byte, candidate string) (wire.SignalAnswer, error) {
			return w.handler.Offer(t.Context(), wire.SignalOffer{SessionID: id, Exp: time.Now().Unix() + 10, HS1: rs1, Candidate: candidate})
		}
		silent := func(what string, rs1 []byte) {
			t.Helper()
			_, err := offer(rs1, "127.0.0.1:50009")
			var refused *wire.RefuseError
			if err == nil || errors.As(err, &refused) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		var rs1 []byte
		for n, candidate := range []string{"127.0.0.1:50001", "", "127.0.0.1:50002"} {
			if candidate != "" { // the path is gone
				w.mu.Lock()
				for _, way := range w.ways {
					way.Close()
				}
				w.mu.Unlock()
			}
			thief := config
			thief.Self = key.IdentityFromSeed([32]byte{byte(n), 77})
			_, forged, err := mux.Session().Initiate(thief)
			w.must(err)
			silent("another device", forged)
			var in *session.Initiator
			in, rs1, err = mux.Session().Initiate(config)
			w.must(err)
			bad := append([]byte{}, rs1...)
			bad[len(bad)-1] ^= 1
			silent("a changed message", bad)
			answer, err := offer(rs1, candidate)
			w.must(err)
			silent("the same message again", rs1)
			rs3, est, err := in.Consume(answer.HS2)
			w.must(err)
			w.handler.Finish(wire.SignalFinish{SessionID: id, HS3: append([]byte{6}, rs3[:len(rs3)-1]...)})
			w.handler.Finish(wire.SignalFinish{SessionID: id, HS3: rs3})
			var conn net.PacketConn
			if candidate != "" {
				w.mu.Lock()
				conn = w.ways[answer.Candidate]
				w.mu.Unlock()
			} else if answer.Candidate != "" {
				t.Fatalf("a path for a resume without one: %s", answer.Candidate)
			}
			w.must(mux.Resume(t.Context(), est, conn, &net.UDPAddr{}))
			says("after " + candidate)
		}
		silent("a message of long ago", rs1)
		says("at last")

		var refused *wire.RefuseError
		_, err := w.handler.Offer(t.Context(), wire.SignalOffer{SessionID: token.NewID(), Exp: time.Now().Unix() + 10, HS1: rs1})
		if !errors.As(err, &refused) || refused.Reason != wire.ReasonGone {
			t.Fatalf("a session that is not there: %v", err)
		}
	}})
	if !opened {
		t.Fatalf("the session did not open: %+v", e)
	}
}

// taken is a half of a session that was taken over.
type taken struct{ half }

func (taken) Relay() token.RelayAccess { return token.RelayAccess{Addr: "of the half"} }

// A resume goes by the relay that the operator's bundle named, or, where an agent before
// has had that, by the one that the session's half has.
func TestRelayOfAResume(t *testing.T) {
	known := &admission{}
	known.bundle.Relay.Addr = "of the bundle"
	for want, d := range map[string]*ward{
		"of the bundle": {a: known, half: taken{}},
		"of the half":   {a: &admission{}, half: taken{}},
		"":              {a: &admission{}, half: &within{}},
	} {
		if got := d.relay().Addr; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
