package channel

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/session"
)

// acceptOlder is Accept of an agent that knows no tickets.
func acceptOlder(ctx context.Context, conn net.PacketConn, peer net.Addr, est *session.Established) (*Mux, error) {
	m := &Mux{chain: session.NewChain(est), incoming: make(chan *Channel), done: make(chan struct{})}
	m.path = newPath(conn, peer, m.chain)
	m.transport = &quic.Transport{Conn: m.path, DisableVersionNegotiationPackets: true}
	config, err := tlsConfig(est, false)
	if err != nil {
		return nil, err
	}
	config.SessionTicketsDisabled = true
	qc := Options{}.quic(false)
	qc.Allow0RTT = false
	if m.conn, err = m.listen(ctx, config, qc); err != nil {
		return nil, err
	}
	m.workers.Go(m.acceptStreams)
	go m.watch()
	return m, nil
}

// A channel that is opened with the connection is answered one round trip after ACCEPT by
// an agent that takes tickets, and after two by one that does not; and it is one channel in
// either case, also where datagrams are lost.
func TestDialOpen(t *testing.T) {
	const way = 50 * time.Millisecond
	for name, row := range map[string]struct {
		older bool
		lose  int32 // of the operator's first datagrams
		trips int   // from the beginning, with ACCEPT's half
	}{
		"a ticket":         {false, 0, 3},
		"an older agent":   {true, 0, 5},
		"a ticket is lost": {false, 2, 0},
		"older, and lost":  {true, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				a, b := memnet.PacketPipe(memnet.Options{Delay: way})
				from := &dropNext{PacketConn: a}
				from.drop.Store(row.lose)
				eo, ea := handshake(t)
				channels := make(chan int, 1)
				agent := make(chan *Mux, 1)
				go func() {
					accept := func() (*Mux, error) { return Accept(t.Context(), b, a.LocalAddr(), ea, Options{MaxChannels: 2}) }
					if row.older {
						accept = func() (*Mux, error) { return acceptOlder(t.Context(), b, a.LocalAddr(), ea) }
					}
					m, err := accept()
					if err != nil {
						t.Error(err)
					}
					agent <- m
					n := 0
					for ; ; n++ {
						c, err := m.Accept(t.Context())
						if err != nil {
							break
						}
						if c.Request().Argv[0] != "hello" || c.Answer(Answer{Effect: Allow}) != nil {
							t.Errorf("channel %d: %+v", n, c.Request())
						}
						go echo(c)
					}
					channels <- n
				}()
				began := time.Now()
				m, c, err := DialOpen(t.Context(), from, b.LocalAddr(), eo, Options{}, OpenMessage{Kind: "exec", Argv: []string{"hello"}})
				if err != nil {
					t.Fatal(err)
				}
				answer, err := c.AwaitAnswer(t.Context())
				if err != nil || !answer.Allowed() {
					t.Fatalf("%+v, %v", answer, err)
				}
				if got := int((time.Since(began) + way/2) / way); row.trips != 0 && got != row.trips {
					t.Errorf("the answer came after %v, %d ways; want %d", time.Since(began), got, row.trips)
				}
				c.Write([]byte("x"))
				c.CloseWrite()
				if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
					t.Errorf("%q, %v", got, err)
				}
				c.Close()
				// Others are opened as ever.
				again, err := m.Open(t.Context(), OpenMessage{Kind: "exec", Argv: []string{"hello"}})
				if err == nil {
					_, err = again.AwaitAnswer(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
				m.Close()
				<-(<-agent).Done()
				if n := <-channels; n != 2 {
					t.Errorf("the agent has seen %d channels, want 2", n)
				}
			})
		})
	}
}

// What another session's ends can open is no ticket.
func TestTicketIsOfOneSession(t *testing.T) {
	eo, ea := handshake(t)
	other, _ := handshake(t)
	config, err := tlsConfig(eo, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		est *session.Established
		ok  bool
	}{"its own": {ea, true}, "another's": {other, false}} {
		agent, err := tlsConfig(row.est, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		_, ok := mint(ctx, config, agent, Options{}).session()
		cancel()
		if ok != row.ok {
			t.Errorf("with %s configuration: %v", name, ok)
		}
	}
}

// Who waits for a ticket that does not come waits no longer than is useful, and nothing of
// it stays.
func TestNoTicket(t *testing.T) {
	eo, ea := handshake(t)
	operator, err := tlsConfig(eo, true)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := tlsConfig(ea, false)
	if err != nil {
		t.Fatal(err)
	}
	agent.SessionTicketsDisabled = true
	simulated(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok := mint(ctx, operator, agent, Options{}).session(); ok {
			t.Error("a ticket from who gives none")
		}
	})
}
