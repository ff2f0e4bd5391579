//go:build unix

package halves

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// privileged is a session half that keeps what it was asked.
type privileged struct {
	mu       sync.Mutex
	asked    []any
	err      error
	owed     []uplink.Entry
	segment  uplink.Segment
	more     chan struct{}
	recorded chan struct{}
	offered  func(context.Context) // in an offer; may be nil
}

func newPrivileged() *privileged {
	return &privileged{more: make(chan struct{}, 1), recorded: make(chan struct{}, 1)}
}

func (p *privileged) ask(what ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, what...)
	return p.err
}

func (p *privileged) Register() ([]byte, error) { return []byte("registration"), p.ask("register") }
func (p *privileged) Heartbeat(h envelope.Hash, seq uint64) ([]byte, error) {
	return []byte("heartbeat"), p.ask("heartbeat", h, seq)
}
func (p *privileged) SignRequest(method, url string, body [32]byte) (string, error) {
	return "header", p.ask("request", method, url, envelope.Hash(body))
}
func (p *privileged) Offer(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	if p.offered != nil {
		p.offered(ctx)
	}
	return wire.SignalAnswer{SessionID: o.SessionID, HS2: []byte("hs2"), Candidate: "192.0.0.8:2"}, p.ask("offer", o)
}
func (p *privileged) Finish(f wire.SignalFinish) { p.ask("finish", f) }
func (p *privileged) Head() (wire.Head, bool) {
	p.ask("head")
	return wire.Head{Seq: 7, Hash: envelope.Sum([]byte("head"))}, true
}
func (p *privileged) Genesis(b []byte) error    { return p.ask("genesis", b) }
func (p *privileged) Learn(s [][]byte) error    { return p.ask("learn", s) }
func (p *privileged) Confirm(h wire.Head) error { return p.ask("confirm", h) }
func (p *privileged) Owed(n int) []uplink.Entry { return p.owed[:min(n, len(p.owed))] }
func (p *privileged) More() <-chan struct{}     { return p.more }
func (p *privileged) Handed(seq uint64) error   { return p.ask("handed", seq) }
func (p *privileged) Recorded() (uplink.Segment, bool) {
	return p.segment, p.segment.N > 0
}
func (p *privileged) MoreRecorded() <-chan struct{} { return p.recorded }
func (p *privileged) Uploaded(s uplink.Segment) error {
	return p.ask("uploaded", s.Session, s.N)
}
func (p *privileged) Refused(s uplink.Segment, why error) { p.ask("refused", s.Session, s.N, why) }

func config(p *privileged) Config {
	gauge := func(float64) {}
	return Config{
		Team: "acme", APIURL: "http://127.0.0.1:1", RendezvousURL: "http://127.0.0.1:1", Poll: time.Hour, Demo: true,
		Inside: p, Metrics: uplink.Metrics{Online: gauge, Owed: gauge, Head: gauge}, Online: func() {}, Fail: func(error) {},
		Logger: slog.New(slog.DiscardHandler),
	}
}

func id(b byte) token.ID { return token.ID{b, 15: 1} }

// joined gives both sides of one connection.
func joined(t *testing.T, p *privileged) (*inner, *outer) {
	t.Helper()
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	c, err := link.Unix(theirs)
	if err != nil {
		t.Fatal(err)
	}
	i := &inner{n: New(config(p))}
	o := &outer{k: link.New(c, options(false)), logger: slog.New(slog.DiscardHandler), more: make(chan struct{}, 1), moreRecorded: make(chan struct{}, 1)}
	k := link.New(ours, options(true))
	var both sync.WaitGroup
	both.Go(func() { k.Serve(i) })
	both.Go(func() { o.k.Serve(o) })
	t.Cleanup(func() { k.End(link.ErrAway); both.Wait() })
	return i, o
}

// All that the network half may ask comes through as it is.
func TestInside(t *testing.T) {
	p := newPrivileged()
	p.owed = []uplink.Entry{{Seq: 3, Bytes: []byte("three")}, {Seq: 4, Bytes: []byte("four")}}
	p.segment = uplink.Segment{Session: id(9), N: 2, Manifest: []byte("m"), Bytes: bytes.Repeat([]byte("s"), wire.MaxSegment)}
	_, o := joined(t, p)
	h := envelope.Sum([]byte("x"))
	offer := wire.SignalOffer{SessionID: id(1), Exp: 5, Sealed: []byte("sealed"), HS1: []byte("hs1"), Candidate: "192.0.0.8:1"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	b, err := o.Register()
	must(err)
	if string(b) != "registration" {
		t.Errorf("%q", b)
	}
	b, err = o.Heartbeat(h, 8)
	must(err)
	if string(b) != "heartbeat" {
		t.Errorf("%q", b)
	}
	header, err := o.SignRequest("GET", "http://x/y", h)
	must(err)
	if header != "header" {
		t.Errorf("%q", header)
	}
	a, err := o.Offer(t.Context(), offer)
	must(err)
	if want := (wire.SignalAnswer{SessionID: id(1), HS2: []byte("hs2"), Candidate: "192.0.0.8:2"}); !reflect.DeepEqual(a, want) {
		t.Errorf("%+v", a)
	}
	if head, known := o.Head(); !known || head.Seq != 7 || head.Hash != envelope.Sum([]byte("head")) {
		t.Errorf("%v %v", head, known)
	}
	must(o.Genesis([]byte("genesis")))
	long := make([][]byte, 5)
	for n := range long {
		long[n] = bytes.Repeat([]byte{byte(n)}, 60<<10)
	}
	must(o.Learn(long))
	must(o.Confirm(wire.Head{Seq: 7, Hash: h}))
	if owed := o.Owed(1); !reflect.DeepEqual(owed, p.owed[:1]) {
		t.Errorf("%v", owed)
	}
	if owed := o.Owed(100); !reflect.DeepEqual(owed, p.owed) {
		t.Errorf("%v", owed)
	}
	must(o.Handed(4))
	if s, ok := o.Recorded(); !ok || !reflect.DeepEqual(s, p.segment) {
		t.Errorf("a segment of %d bytes, %v", len(s.Bytes), ok)
	}
	must(o.Uploaded(p.segment))
	o.Refused(p.segment, errors.Join(errors.New("more"), wire.ErrConflict))
	o.Finish(wire.SignalFinish{SessionID: id(1), HS3: []byte("hs3")})
	o.Head() // behind it, so that the note was read

	want := []any{
		"register", "heartbeat", h, uint64(8), "request", "GET", "http://x/y", h, "offer", offer, "head", "genesis", []byte("genesis"),
		"learn", long[:2], "learn", long[2:4], "learn", long[4:], "confirm", wire.Head{Seq: 7, Hash: h}, "handed", uint64(4),
		"uploaded", id(9), uint64(2), "refused", id(9), uint64(2), wire.ErrConflict, "finish", wire.SignalFinish{SessionID: id(1), HS3: []byte("hs3")}, "head",
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !reflect.DeepEqual(p.asked, want) {
		t.Errorf("asked\n%v, want\n%v", p.asked, want)
	}
}

// Of an error the network half learns what SPEC.md says and no word more; of one of
// the network half the privileged side takes no word at all.
func TestFailures(t *testing.T) {
	p := newPrivileged()
	_, o := joined(t, p)
	for _, tc := range []struct {
		err, want error
		text      string
	}{
		{errors.New("a secret"), nil, "halves: the other half could not do it"},
		{errors.Join(errors.New("a secret"), uplink.ErrHopeless), uplink.ErrHopeless, uplink.ErrHopeless.Error()},
		{errors.Join(errors.New("a secret"), &wire.RefuseError{Reason: "busy"}), nil, "wire: offer refused: busy"},
	} {
		p.mu.Lock()
		p.err = tc.err
		p.mu.Unlock()
		err := o.Genesis(nil)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || err.Error() != tc.text {
			t.Errorf("%v became %v", tc.err, err)
		}
	}
	for _, f := range failures {
		if got := errorOf(failureOf(f.err, true), false); got != f.err {
			t.Errorf("%v became %v", f.err, got)
		}
	}
	if f := failureOf(&wire.RefuseError{Reason: "look here"}, false); f.Text != "" {
		t.Errorf("the network half sends %q", f.Text)
	}
	if err := errorOf(link.Failure{Code: codeRefuse, Text: "look here"}, true); err.Error() != "halves: the other half could not do it" {
		t.Errorf("the privileged side reads %q", err)
	}
}

// raw is the network half's end without a network half.
func raw(t *testing.T, p *privileged) (socket *net.UnixConn, ended <-chan error) {
	t.Helper()
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	c, err := link.Unix(theirs)
	if err != nil {
		t.Fatal(err)
	}
	k := link.New(ours, options(true))
	done := make(chan error, 1)
	go func() { done <- k.Serve(&inner{n: New(config(p))}) }()
	t.Cleanup(func() { c.Close(); k.End(link.ErrAway) })
	return c, done
}

// What is not in SPEC.md ends the connection, and asks nothing of anybody.
func TestViolations(t *testing.T) {
	body := func(v any) []byte {
		b, err := link.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	long := link.Frame{Kind: link.KindCall, Op: opGenesis, ID: 1}.Bytes()
	binary.BigEndian.PutUint32(long, maxInward+1)
	files := link.Frame{Kind: link.KindCall, Op: opHead, ID: 1, Files: 1}
	for name, b := range map[string][]byte{
		"too long":              long,
		"no kind":               link.Frame{Kind: 0, Op: opHead, ID: 1}.Bytes(),
		"kind 5":                link.Frame{Kind: 5, Op: opHead, ID: 1}.Bytes(),
		"a call without number": link.Frame{Kind: link.KindCall, Op: opHead}.Bytes(),
		"a note with one":       link.Frame{Kind: link.KindNote, Op: opLost, ID: 1, Body: body(attemptCall{})}.Bytes(),
		"no such call":          link.Frame{Kind: link.KindCall, Op: 60, ID: 1}.Bytes(),
		"no such note":          link.Frame{Kind: link.KindNote, Op: 60}.Bytes(),
		"a call of our own":     link.Frame{Kind: link.KindCall, Op: opOpen, ID: 1, Body: body(openCall{})}.Bytes(),
		"a note of our own":     link.Frame{Kind: link.KindNote, Op: opMore}.Bytes(),
		"a call as a note":      link.Frame{Kind: link.KindNote, Op: opGenesis, Body: body(genesisCall{})}.Bytes(),
		"an answer to nothing":  link.Frame{Kind: link.KindAnswer, Op: opOpen, ID: 1}.Bytes(),
		"a failure of nothing":  link.Frame{Kind: link.KindFailure, Op: opOpen, ID: 1, Body: body(link.Failure{})}.Bytes(),
		"a file that is not":    files.Bytes(),
		"four files":            link.Frame{Kind: link.KindCall, Op: opHead, ID: 1, Files: 4}.Bytes(),
		"a body where none is":  link.Frame{Kind: link.KindCall, Op: opHead, ID: 1, Body: []byte{0xa0}}.Bytes(),
		"no body where one is":  link.Frame{Kind: link.KindCall, Op: opLearn, ID: 1}.Bytes(),
		"no CBOR":               link.Frame{Kind: link.KindCall, Op: opLearn, ID: 1, Body: []byte("hello")}.Bytes(),
		"more behind":           link.Frame{Kind: link.KindCall, Op: opGenesis, ID: 1, Body: append(body(genesisCall{[]byte("x")}), 0)}.Bytes(),
		"an endless box":        link.Frame{Kind: link.KindCall, Op: opOffer, ID: 1, Body: body(wire.SignalOffer{SessionID: id(1), Exp: 1, Sealed: make([]byte, token.MaxSealedBundle+1), HS1: []byte("x")})}.Bytes(),
		"an endless finish":     link.Frame{Kind: link.KindNote, Op: opFinish, Body: body(wire.SignalFinish{SessionID: id(1), HS3: make([]byte, wire.MaxHandshake+1)})}.Bytes(),
		"what was never owed":   link.Frame{Kind: link.KindCall, Op: opHanded, ID: 1, Body: body(handedCall{99})}.Bytes(),
		"a gauge of its own":    link.Frame{Kind: link.KindNote, Op: opGauge, Body: body(gaugeNote{9, 1})}.Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrivileged()
			p.owed = []uplink.Entry{{Seq: 98}}
			c, ended := raw(t, p)
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, link.ErrProtocol) {
				t.Errorf("ended with %v", err)
			}
			if len(p.asked) > 0 {
				t.Errorf("asked %v", p.asked)
			}
		})
	}
}

// Descriptors that belong to nothing do not pile up.
func TestUnaskedFiles(t *testing.T) {
	c, ended := raw(t, newPrivileged())
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	frames := link.Frame{Kind: link.KindCall, Op: opHead, ID: 1}.Bytes()
	for range 8 {
		fd := int(null.Fd())
		if _, _, err := c.WriteMsgUnix(frames, unix.UnixRights(fd, fd), nil); err != nil {
			break // it has hung up
		}
	}
	if err := <-ended; !errors.Is(err, link.ErrProtocol) {
		t.Errorf("ended with %v", err)
	}
}

// A network half that asks without end is answered at a bounded rate and by a
// bounded number of workers.
func TestManyCalls(t *testing.T) {
	p := newPrivileged()
	held := make(chan struct{})
	var now, most int
	full := make(chan struct{})
	p.offered = func(ctx context.Context) {
		p.mu.Lock()
		now++
		if most = max(most, now); now == link.MaxCalls {
			close(full)
		}
		p.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
	c, ended := raw(t, p)
	body, err := link.Encode(wire.SignalOffer{SessionID: id(1), Exp: 1, Sealed: []byte("s"), HS1: []byte("h"), Candidate: "x"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for n := range uint32(200) {
			c.Write(link.Frame{Kind: link.KindCall, Op: opOffer, ID: n + 1, Body: body}.Bytes())
		}
	}()
	busy := 0
	for busy < 200-link.MaxCalls {
		f, err := link.ReadFrame(c, maxOutward)
		if err != nil || f.Kind != link.KindFailure {
			t.Fatalf("%+v %v", f, err)
		}
		busy++
	}
	<-full
	p.mu.Lock()
	if most != link.MaxCalls {
		t.Errorf("%d at a time", most)
	}
	p.mu.Unlock()
	c.Close()
	if err := <-ended; err == nil {
		t.Error("it ended without a reason")
	}
	close(held)
}

// stage is a relay, an operator's end on it, and a Network whose network half is in
// this process.
type stage struct {
	network  *Network
	operator *path.Relayed
	address  string
	agent    cred.Credential
	cut      func() // the network half's end
	starts   chan struct{}
}

func newStage(t testing.TB) *stage {
	t.Helper()
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
	s := &stage{address: server.Addr().String(), starts: make(chan struct{}, 16)}
	s.agent = secret.Mint([16]byte{1}, cred.Agent, time.Now().Add(time.Hour))
	if s.operator, err = path.OpenRelay(t.Context(), s.address, secret.Mint([16]byte{1}, cred.Operator, time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.operator.Close() })
	c := config(newPrivileged())
	var mu sync.Mutex
	var last *net.UnixConn
	c.Start = func(socket *os.File) (func() error, func(), error) {
		f, err := link.Copy(socket)
		if err != nil {
			return nil, nil, err
		}
		conn, err := link.Unix(f)
		if err != nil {
			return nil, nil, err
		}
		mu.Lock()
		last = conn
		mu.Unlock()
		done := make(chan error, 1)
		o := newOuter(conn, slog.New(slog.DiscardHandler))
		go func() {
			err := o.k.Serve(o)
			o.close()
			done <- err
		}()
		s.starts <- struct{}{}
		return func() error { return <-done }, func() { conn.Close() }, nil
	}
	s.cut = func() { mu.Lock(); defer mu.Unlock(); last.Close() }
	s.network = New(c)
	running, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); s.network.Run(running) }()
	t.Cleanup(func() { stop(); <-over; s.network.Last() })
	<-s.starts
	return s
}

// A consistency proof comes through the network half as apid has given it, and apid's no
// stays a no.
func TestConsistency(t *testing.T) {
	proof := tlog.TreeProof{{1}, {2}}
	apid := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/audit/consistency" || r.URL.Query().Get("from") != "3" || r.URL.Query().Get("to") != "8" {
			no := wire.NewProblem(wire.KindConflict, "the log is shorter", "")
			w.Header().Set("Content-Type", wire.ContentTypeProblem)
			w.WriteHeader(no.Status)
			json.NewEncoder(w).Encode(no)
			return
		}
		json.NewEncoder(w).Encode(wire.Consistency{Proof: []envelope.Hash{envelope.Hash(proof[0]), envelope.Hash(proof[1])}})
	}))
	defer apid.Close()
	c := config(newPrivileged())
	c.APIURL = apid.URL
	c.Start = func(socket *os.File) (func() error, func(), error) {
		f, err := link.Copy(socket)
		if err != nil {
			return nil, nil, err
		}
		conn, err := link.Unix(f)
		if err != nil {
			return nil, nil, err
		}
		done := make(chan error, 1)
		o := newOuter(conn, slog.New(slog.DiscardHandler))
		go func() {
			err := o.k.Serve(o)
			o.close()
			done <- err
		}()
		return func() error { return <-done }, func() { conn.Close() }, nil
	}
	n := New(c)
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); n.Run(ctx) }()
	defer func() { stop(); <-over; n.Last() }()
	var got tlog.TreeProof
	err := error(link.ErrAway)
	for until := time.Now().Add(30 * time.Second); errors.Is(err, link.ErrAway) && time.Now().Before(until); time.Sleep(time.Millisecond) {
		got, err = n.Consistency(t.Context(), 3, 8) // the half may not be there yet
	}
	if err != nil || !slices.Equal(got, proof) {
		t.Errorf("%v %v", got, err)
	}
	if _, err := n.Consistency(t.Context(), 3, 9); !wire.Refused(err) {
		t.Errorf("apid's no has become %v", err)
	}
}

// open opens the agent's path once the network half is there.
func (s *stage) open(t testing.TB) *Way {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		w, err := s.network.OpenWay(t.Context(), s.address, s.agent)
		if err == nil {
			t.Cleanup(func() { w.Close() })
			if err := errors.Join(w.Permit(t.Context(), s.operator.LocalRelayed()), s.operator.Permit(t.Context(), w.LocalRelayed())); err != nil {
				t.Fatal(err)
			}
			return w
		}
		// The half may not be back yet, and the relay may still hold what was just
		// closed: its release travels by itself.
		if !errors.Is(err, link.ErrAway) && !errors.Is(err, path.ErrRefused) || time.Now().After(until) {
			t.Fatal(err)
		}
	}
}

// passes sends a datagram until it arrives: some may be lost.
func passes(t *testing.T, from, to net.PacketConn, at net.Addr, what string) {
	t.Helper()
	b := make([]byte, 2000)
	for until := time.Now().Add(20 * time.Second); ; {
		if _, err := from.WriteTo([]byte(what), at); err != nil {
			t.Fatal(err)
		}
		to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _, err := to.ReadFrom(b)
		if err == nil && string(b[:n]) == what {
			return
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(until) {
			t.Fatalf("%q has not come: %v", what, err)
		}
	}
}

// A path outlives network halves: same address, same sockets.
func TestWaysOutliveNetworkHalves(t *testing.T) {
	s := newStage(t)
	w := s.open(t)
	both := func(when string) {
		t.Helper()
		passes(t, s.operator, w, w.LocalRelayed(), "in "+when)
		passes(t, w, s.operator, s.operator.LocalRelayed(), "out "+when)
	}
	both("at first")
	for _, when := range []string{"after one", "after two"} {
		s.cut()
		<-s.starts
		both(when)
	}
	if _, err := w.WriteTo(make([]byte, path.MaxDatagram+1), s.operator.LocalRelayed()); !errors.Is(err, path.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	w.Close()
	if _, _, err := w.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	// It was released on the relay: there is room for another.
	passes(t, s.operator, s.open(t), w.LocalRelayed(), "a new path")
}

// Attempts at direct paths are the network half's, and end with it.
func TestAttemptsElsewhere(t *testing.T) {
	s := newStage(t)
	w := s.open(t)
	other := path.NewSwitch(s.operator, path.Options{Loopback: true})
	defer other.Close()
	for range 2 {
		theirs, err := other.Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ours, err := w.Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Gather(t.Context()); !errors.Is(err, path.ErrAttempt) {
			t.Errorf("two at a time: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- ours.Connect(t.Context(), theirs.Local(), false) }()
		if err := errors.Join(theirs.Connect(t.Context(), ours.Local(), true), <-done); err != nil {
			t.Fatal(err)
		}
		passes(t, other, w, w.LocalRelayed(), "by the direct path")
		passes(t, w, other, s.operator.LocalRelayed(), "and back")
		s.cut()
		<-ours.Lost()
		<-s.starts
		ours.Close()
		theirs.Close()
		passes(t, other, w, w.LocalRelayed(), "by relay")
	}
	bad := path.Description{Fragment: "abcd", Password: "pppppppppppppppppppppp", Candidates: []path.Candidate{}}
	for {
		a, err := w.Gather(t.Context())
		if errors.Is(err, path.ErrNoDirect) {
			time.Sleep(time.Millisecond) // the network half is not back yet
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Connect(t.Context(), bad, false); !errors.Is(err, path.ErrCandidate) {
			t.Errorf("a bad description: %v", err)
		}
		a.Close()
		a.Close()
		return
	}
}

// FuzzPrivileged holds that no call and no note of a network half does more than
// SPEC.md says, whatever is in it.
func FuzzPrivileged(f *testing.F) {
	seed := func(note bool, o link.Op, v any) {
		b, err := link.Encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(note, byte(o), b)
	}
	offer := wire.SignalOffer{SessionID: id(1), Exp: 5, Sealed: []byte("sealed"), HS1: []byte("hs1"), Candidate: "192.0.0.8:1"}
	for o, v := range map[link.Op]any{
		opRegister: nil, opHeartbeat: heartbeatCall{envelope.Sum(nil), 1}, opRequest: requestCall{"GET", "http://x", envelope.Sum(nil)},
		opOffer: offer, opHead: nil, opGenesis: genesisCall{[]byte("g")}, opLearn: learnCall{[][]byte{[]byte("s")}},
		opConfirm: headMessage{true, 1, envelope.Sum(nil)}, opOwed: owedCall{3}, opHanded: handedCall{3}, opRecorded: nil,
		opUploaded: segmentCall{id(1), 1, 0}, opRefused: segmentCall{id(1), 1, 18},
	} {
		seed(false, o, v)
	}
	seed(true, opFinish, wire.SignalFinish{SessionID: id(1), HS3: []byte("hs3")})
	seed(true, opGauge, gaugeNote{gaugeOnline, 1})
	seed(true, opLost, attemptCall{1, 2})
	calls := []link.Op{opRegister, opHeartbeat, opRequest, opOffer, opHead, opGenesis, opLearn, opConfirm, opOwed, opHanded, opRecorded, opUploaded, opRefused}
	f.Fuzz(func(t *testing.T, note bool, o byte, body []byte) {
		p := newPrivileged()
		p.owed = []uplink.Entry{{Seq: 3, Bytes: []byte("three")}}
		i := &inner{n: New(config(p))}
		if note {
			if err := i.Note(link.Request{Op: link.Op(o), Body: body}); err == nil && !slices.Contains([]link.Op{opFinish, opGauge, opLost}, link.Op(o)) {
				t.Fatalf("note %d was taken", o)
			}
			return
		}
		r, err := i.Call(t.Context(), link.Request{Op: link.Op(o), Body: body})
		if r.Sent != nil {
			r.Sent()
		}
		switch {
		case err != nil && len(p.asked) > 0:
			t.Fatalf("call %d was refused, and asked %v", o, p.asked)
		case err == nil && !slices.Contains(calls, link.Op(o)):
			t.Fatalf("call %d was taken", o)
		case err == nil:
			if _, err := link.Encode(r.Body); err != nil {
				t.Fatalf("call %d: %v", o, err)
			}
		}
	})
}

// BenchmarkWay sends datagrams of a full size from the agent's side to the
// operator's by a relay: by a network half in this process, and by one behind the
// sockets of SPEC.md. What is lost is not counted as sent.
func BenchmarkWay(b *testing.B) {
	run := func(b *testing.B, from net.PacketConn, to *path.Relayed) {
		const size = 1200
		got := make(chan struct{}, 1<<16)
		go func() {
			buf := make([]byte, 2048)
			for {
				if _, _, err := to.ReadFrom(buf); err != nil {
					return
				}
				got <- struct{}{}
			}
		}()
		p := make([]byte, size)
		b.SetBytes(size)
		b.ResetTimer()
		inFlight := 0
		for arrived := 0; arrived < b.N; {
			for ; inFlight < 32; inFlight++ {
				if _, err := from.WriteTo(p, to.LocalRelayed()); err != nil {
					b.Fatal(err)
				}
			}
			select {
			case <-got:
				arrived++
				inFlight--
			case <-time.After(50 * time.Millisecond):
				inFlight = 0
			}
		}
	}
	b.Run("one process", func(b *testing.B) {
		s := newStage(b)
		r, err := path.OpenRelay(b.Context(), s.address, s.agent)
		if err != nil {
			b.Fatal(err)
		}
		w := path.NewSwitch(r, path.Options{Loopback: true})
		defer w.Close()
		if err := errors.Join(w.Permit(b.Context(), s.operator.LocalRelayed()), s.operator.Permit(b.Context(), w.LocalRelayed())); err != nil {
			b.Fatal(err)
		}
		run(b, w, s.operator)
	})
	b.Run("two halves", func(b *testing.B) {
		s := newStage(b)
		run(b, s.open(b), s.operator)
	})
}
