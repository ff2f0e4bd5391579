package rendezvous_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

// pipes is a listener in memory, so that these tests run on a fake clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8444} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// A bubble is a world on a fake clock.
type bubble struct {
	*world
	http *http.Client
}

func inBubble(t *testing.T, test func(*bubble)) {
	recipient() // made outside: key generation does not belong to the bubble
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := &world{t: t, url: "http://127.0.0.1:8444", acme: newTeam(t, "acme", 1)}
		w.rosters = &rosters{teams: map[string]*roster.Roster{"acme": w.acme.roster}}
		s, err := rendezvous.New(rendezvous.Config{Listen: "127.0.0.1:8444", URL: w.url, APIURL: apiURL, Rosters: w.rosters})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l, func() {}) }()
		transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true}
		test(&bubble{w, &http.Client{Transport: transport}})
		cancel()
		transport.CloseIdleConnections()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (b *bubble) dial(p wire.Presence, h wire.AgentHandler) (stop func(), done <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- wire.DialAgent(ctx, wire.AgentOptions{URL: b.url, Presence: p, HTTP: b.http}, h)
	}()
	return cancel, ended
}

func (b *bubble) stateOf(tm *team) wire.AgentState {
	b.t.Helper()
	c, err := wire.NewSigned(wire.SignedOptions{URL: b.url, Identity: tm.grant, HTTP: b.http})
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := c.Registry(context.Background(), tm.id, []key.Kid{tm.web.Kid()})
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.Agents[0]
}

func TestSilentAgentGoesOffline(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p, h := b.presence(b.acme, b.acme.web), newHandler()
		beats, mute := 0, make(chan struct{})
		p.beat = func(*token.Heartbeat) {
			if beats++; beats == 5 {
				<-mute // alive, connected, and silent
			}
		}
		stop, done := b.dial(p, h)
		defer stop()
		if w := <-h.welcome; w.Heartbeat != 15 || w.HeadSeq != b.acme.roster.Head().Seq {
			t.Errorf("%+v", w)
		}
		start := time.Now()
		for _, c := range []struct {
			after time.Duration
			want  string
		}{
			{59 * time.Second, wire.Online},  // heartbeats at 15, 30, 45
			{104 * time.Second, wire.Online}, // the last one was at 60
			{106 * time.Second, wire.Offline},
		} {
			time.Sleep(c.after - time.Since(start))
			synctest.Wait()
			s := b.stateOf(b.acme)
			if s.State != c.want {
				t.Errorf("after %v: %s, want %s", c.after, s.State, c.want)
			}
			if seen := start.Add(60 * time.Second).Unix(); c.want == wire.Offline && s.LastSeen != seen {
				t.Errorf("last seen at %d, want %d", s.LastSeen, seen)
			}
		}
		close(mute)
		if err := <-done; !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
}

// Talking is not enough: only heartbeats keep an agent online.
func TestAnswersAreNoHeartbeats(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p, h := b.presence(b.acme, b.acme.web), newHandler()
		mute := make(chan struct{})
		p.beat = func(*token.Heartbeat) { <-mute }
		stop, done := b.dial(p, h)
		defer stop()
		<-h.welcome
		for range 4 {
			time.Sleep(10 * time.Second)
			if status, body := b.offer(); status != 200 {
				t.Fatal(status, body)
			}
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := b.stateOf(b.acme); s.State != wire.Offline {
			t.Error(s.State)
		}
		close(mute)
		<-done
	})
}

func (b *bubble) offer() (int, string) {
	b.t.Helper()
	o := b.operator(b.acme)
	resp, err := b.http.Get(b.url + "/")
	if err != nil {
		b.t.Fatal(err)
	}
	resp.Body.Close()
	o.nonce = resp.Header.Get(wire.HeaderDPoPNonce)
	resp, err = b.http.Do(o.request("/v1/offers", offerBody(token.NewID(), b.acme.web.Kid())))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var s strings.Builder
	buf := make([]byte, 4096)
	n, _ := resp.Body.Read(buf)
	s.Write(buf[:n])
	return resp.StatusCode, s.String()
}

func TestOfferTimesOut(t *testing.T) {
	inBubble(t, func(b *bubble) {
		h := newHandler()
		h.offer = func(context.Context, wire.SignalOffer) (wire.SignalAnswer, error) {
			return wire.SignalAnswer{}, errors.New("not for strangers")
		}
		stop, done := b.dial(b.presence(b.acme, b.acme.web), h)
		<-h.welcome
		start := time.Now()
		if status, body := b.offer(); status != 503 || !strings.Contains(body, "did not answer") {
			t.Error(status, body)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %v", waited)
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// pages is a Source whose answers a test sets.
type pages struct {
	roster *roster.Roster
	err    error
	size   int // statements in a page
	asked  []uint64
}

func (p *pages) Roster(_ context.Context, _ string, after uint64) (wire.RosterPage, error) {
	p.asked = append(p.asked, after)
	if p.err != nil {
		return wire.RosterPage{}, p.err
	}
	st := p.roster.Statements(after)
	more := p.size > 0 && len(st) > p.size
	if more {
		st = st[:p.size]
	}
	return wire.RosterPage{Genesis: p.roster.Genesis(), Statements: st, More: more}, nil
}

func TestCachedRosters(t *testing.T) {
	recipient()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		tm, foreign := newTeam(t, "acme", 1), newTeam(t, "other", 2)
		src := &pages{roster: tm.roster, size: 2}
		c := rendezvous.NewCached(src, nil)
		r, err := c.Roster(ctx, "acme")
		if err != nil || r.Head() != tm.roster.Head() || len(src.asked) != 2 {
			t.Fatal(err, src.asked)
		}
		expect := func(what string, questions int, head roster.Head, get func(context.Context, string) (*roster.Roster, error)) {
			t.Helper()
			src.asked = nil
			r, err := get(ctx, "acme")
			if err != nil || r.Head() != head || len(src.asked) != questions {
				t.Errorf("%s: %v, %d questions, want %d", what, err, len(src.asked), questions)
			}
		}
		old := tm.roster.Head()
		tm.add(t, roster.KindThreshold, roster.Threshold{K: 1})
		src.roster = tm.roster
		expect("at once", 0, old, c.Roster)
		expect("a newer one at once", 0, old, c.Refresh)
		time.Sleep(2 * time.Second)
		expect("after two seconds", 0, old, c.Roster)
		expect("a newer one after two seconds", 1, tm.roster.Head(), c.Refresh)
		time.Sleep(11 * time.Second)
		expect("after its age", 1, tm.roster.Head(), c.Roster)
		src.err = errors.New("away")
		time.Sleep(11 * time.Second)
		expect("while the source is away", 1, tm.roster.Head(), c.Roster)
		expect("and again at once", 0, tm.roster.Head(), c.Roster)
		time.Sleep(25 * time.Hour)
		if _, err := c.Roster(ctx, "acme"); err == nil || errors.Is(err, rendezvous.ErrNoTeam) {
			t.Errorf("a stale roster: %v", err)
		}
		// A source that tells of another team, or starts a new history, is not believed.
		src.err, src.roster = nil, foreign.roster
		time.Sleep(11 * time.Second)
		if r, err := c.Roster(ctx, "acme"); err == nil {
			t.Errorf("believed %s", r.TeamID())
		}
		if _, err := c.Roster(ctx, "third"); err == nil {
			t.Error("another team's roster was taken")
		}
		for _, bad := range []string{"", "a\nb", strings.Repeat("x", 200)} {
			if _, err := c.Roster(ctx, bad); !errors.Is(err, rendezvous.ErrNoTeam) {
				t.Errorf("%.10q: %v", bad, err)
			}
		}
		src.err, src.asked = wire.ErrNotFound, nil
		for range 3 {
			if _, err := c.Roster(ctx, "nobody"); !errors.Is(err, rendezvous.ErrNoTeam) {
				t.Error(err)
			}
		}
		if len(src.asked) != 1 {
			t.Errorf("asked %d times for a team that is not there", len(src.asked))
		}
		refused := 0
		for i := range 300 {
			if _, err := c.Roster(ctx, "made-up-"+envelope.Sum([]byte{byte(i), byte(i >> 8)}).String()[:8]); !errors.Is(err, rendezvous.ErrNoTeam) {
				refused++
			}
		}
		if refused < 150 || len(src.asked) > 150 {
			t.Errorf("%d made-up teams were asked for, %d refused", len(src.asked), refused)
		}
	})
}
