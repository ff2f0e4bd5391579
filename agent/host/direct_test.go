//go:build unix

package host

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// An operator who names an address that is none of a side's gets the agent to send
// nothing there, and the one channel about paths is used up. The session goes on.
func TestNoScanFromAnAgent(t *testing.T) {
	secret := cred.NewSecret()
	server, err := relay.New(relay.Config{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-up
	w := newWorldOn(t, server.Addr().String(), secret)
	w.start()

	victim, err := net.ListenPacket("udp", "127.0.0.1:0")
	w.must(err)
	defer victim.Close()
	offer, err := envelope.Marshal(map[string]any{"attempt": 1, "description": path.Description{
		Fragment: "abcd", Password: strings.Repeat("p", 22),
		Candidates: []path.Candidate{{Addr: netip.MustParseAddrPort(victim.LocalAddr().String())}},
	}})
	w.must(err)
	const gone = 2 + 10 // bytes of the message that says so, at most
	opened := false
	w.try(attempt{argv: []string{"cat"}, stdin: "stream", drive: func(mux *channel.Mux, cat *channel.Channel) {
		opened = true
		open := func() (*channel.Channel, channel.Answer) {
			ch, err := mux.Open(ctx, channel.OpenMessage{Kind: direct.Kind})
			w.must(err)
			a, err := ch.AwaitAnswer(ctx)
			w.must(err)
			return ch, a
		}
		ch, a := open()
		if !a.Allowed() {
			t.Fatalf("the channel about paths: %+v", a)
		}
		_, err := ch.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(offer))), offer...))
		w.must(err)
		// An answer at most, and then the end of the talk. A machine that has
		// loopback alone says "gone" and waits for another offer.
		stop := time.AfterFunc(5*time.Second, func() { ch.Close() })
		rest, err := io.ReadAll(io.LimitReader(ch, 2048))
		if over := stop.Stop(); err == nil || !over && len(rest) > gone {
			t.Errorf("the talk goes on after %d bytes, %v", len(rest), err)
		}
		victim.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, _, err := victim.ReadFrom(make([]byte, 100)); err == nil {
			t.Errorf("the agent has sent %d bytes to an address that the operator named", n)
		}
		if _, again := open(); again.Allowed() {
			t.Error("a second channel about paths")
		}
		_, err = cat.Write([]byte("on we go\n"))
		w.must(err)
		if f, err := cat.ReadFrame(); err != nil || string(f.Payload) != "on we go\n" {
			t.Errorf("the session: %q %v", f.Payload, err)
		}
	}})
	if !opened {
		t.Fatalf("no session\n%s", w.logs)
	}
}
