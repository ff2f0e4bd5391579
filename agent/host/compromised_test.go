//go:build unix

package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Numbers of halves/SPEC.md, written down a second time.
const (
	kCall, kAnswer, kFailure, kNote = 1, 2, 3, 4

	askRegister, askRequest, askOffer, askHead = 1, 3, 4, 5
	askGenesis, askLearn, askOwed, askHanded   = 6, 7, 9, 10
	tellFinish                                 = 32
	toldSetup, toldOpen, toldPermit            = 64, 65, 66
)

// mallory is a network half that somebody has taken over: all of it is theirs, and
// it knows all that a network half knows.
type mallory struct {
	w    *world
	sock *net.UnixConn

	mu      sync.Mutex
	out     sync.Mutex
	next    uint32
	answers map[uint32]chan reply
	files   []*os.File
	gone    chan struct{}

	seen bytes.Buffer // all that was to be read
	ways int
	// lines are the paths that this mallory and those before it have made, by way;
	// sessions are this one's ends.
	lines    map[uint64]*line
	sessions []net.Conn
	// forward decides what becomes of one datagram; nil: it is passed on.
	forward atomic.Pointer[func(datagram []byte, pass func([]byte))]
}

// A line is the wire to one operator.
type line struct {
	addr         netip.AddrPort
	theirs, ours net.PacketConn
}

type reply struct {
	ok   bool
	body []byte
}

// taken starts an agent whose network half is mallory's. Each start is a new one.
func (w *world) taken() (first *mallory, all <-chan *mallory) {
	w.t.Helper()
	h, err := New(w.config())
	w.must(err)
	started := make(chan *mallory, 16)
	lines := map[uint64]*line{}
	h.start = func(socket *os.File) (func() error, func(), error) {
		fd, err := unix.Dup(int(socket.Fd()))
		if err != nil {
			return nil, nil, err
		}
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, nil, err
		}
		m := &mallory{w: w, sock: c.(*net.UnixConn), answers: map[uint32]chan reply{}, lines: lines, gone: make(chan struct{})}
		go m.listen()
		started <- m
		return func() error { <-m.gone; return nil }, func() { c.Close() }, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx, func() {}) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the agent's end: %v", err)
		}
	})
	w.t.Cleanup(w.stop)
	first = <-started
	return first, started
}

func (m *mallory) send(kind, op, files byte, id uint32, body, rights []byte) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, kind, op, files)
	b = binary.BigEndian.AppendUint32(b, id)
	m.out.Lock()
	defer m.out.Unlock()
	m.sock.WriteMsgUnix(append(b, body...), rights, nil)
}

// ask is a call to the agent.
func (m *mallory) ask(ctx context.Context, op byte, in any) (body []byte, ok bool) {
	var b []byte
	if in != nil {
		var err error
		if b, err = envelope.Marshal(in); err != nil {
			panic(err)
		}
	}
	got := make(chan reply, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.answers[id] = got
	m.mu.Unlock()
	m.send(kCall, op, 0, id, b, nil)
	select {
	case r := <-got:
		return r.body, r.ok
	case <-m.gone:
	case <-ctx.Done():
	}
	return nil, false
}

func (m *mallory) tell(op byte, in any) {
	b, err := envelope.Marshal(in)
	if err != nil {
		panic(err)
	}
	m.send(kNote, op, 0, 0, b, nil)
}

// Read reads the socket and keeps the descriptors and the bytes.
func (m *mallory) Read(p []byte) (int, error) {
	oob := make([]byte, 64)
	n, oobn, _, _, err := m.sock.ReadMsgUnix(p, oob)
	if n < 0 || err != nil {
		return 0, io.EOF
	}
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for _, c := range messages {
			fds, _ := unix.ParseUnixRights(&c)
			for _, fd := range fds {
				m.files = append(m.files, os.NewFile(uintptr(fd), "received"))
			}
		}
	}
	m.keep(p[:n])
	return n, nil
}

func (m *mallory) keep(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen.Write(b)
}

func (m *mallory) listen() {
	defer close(m.gone)
	defer func() {
		for _, c := range m.sessions {
			c.Close()
		}
	}()
	for {
		var h [11]byte
		if _, err := io.ReadFull(m, h[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(h[:]))
		if _, err := io.ReadFull(m, body); err != nil {
			return
		}
		files := m.files[:h[6]]
		m.files = m.files[h[6]:]
		id := binary.BigEndian.Uint32(h[7:])
		switch h[4] {
		case kAnswer, kFailure:
			m.mu.Lock()
			c := m.answers[id]
			m.mu.Unlock()
			c <- reply{h[4] == kAnswer, body}
		case kCall:
			m.serve(h[5], id, body, files)
		}
	}
}

// serve plays the network half's part, as far as that serves mallory.
func (m *mallory) serve(op byte, id uint32, body []byte, files []*os.File) {
	switch op {
	case toldOpen:
		c, err := net.FileConn(files[0])
		m.w.must(err)
		for _, f := range files {
			f.Close()
		}
		var call struct {
			Way      uint64 `cbor:"way"`
			Again    bool   `cbor:"again"`
			Relay    string `cbor:"relay"`
			Username string `cbor:"username"`
			Password string `cbor:"password"`
		}
		m.w.must(envelope.Unmarshal(body, &call))
		addr := m.join(call.Way, c)
		answer, err := envelope.Marshal(map[string]any{"addr": addr})
		m.w.must(err)
		if len(files) == 2 {
			m.send(kAnswer, op, 0, id, answer, nil)
			return
		}
		relay, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		m.w.must(err)
		defer relay.Close()
		raw, err := relay.SyscallConn()
		m.w.must(err)
		m.w.must(raw.Control(func(fd uintptr) { m.send(kAnswer, op, 1, id, answer, unix.UnixRights(int(fd))) }))
	case toldSetup, toldPermit:
		m.send(kAnswer, op, 0, id, nil, nil)
	default:
		m.send(kFailure, op, 0, id, must(envelope.Marshal(map[string]any{"code": 1, "text": ""})), nil)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// join makes a path to the operator, or takes over what another mallory has left,
// with this one in its middle.
func (m *mallory) join(way uint64, session net.Conn) netip.AddrPort {
	m.sessions = append(m.sessions, session)
	l := m.lines[way]
	if l == nil {
		l = &line{}
		l.theirs, l.ours = memnet.PacketPipe(memnet.Options{})
		m.lines[way] = l
		m.w.mu.Lock()
		m.w.nway++
		l.addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(41000+m.w.nway))
		m.w.ways[l.addr.String()] = l.theirs
		m.w.mu.Unlock()
		m.mu.Lock()
		m.ways++
		m.mu.Unlock()
	}
	pump := func(read func([]byte) (int, error), write func([]byte)) {
		b := make([]byte, 2048)
		for {
			n, err := read(b)
			if err != nil {
				return
			}
			select {
			case <-m.gone:
				return
			default:
			}
			m.keep(b[:n])
			if f := m.forward.Load(); f != nil {
				(*f)(bytes.Clone(b[:n]), write)
				continue
			}
			write(b[:n])
		}
	}
	go pump(session.Read, func(d []byte) { l.ours.WriteTo(d, l.theirs.LocalAddr()) })
	go pump(func(b []byte) (int, error) {
		n, _, err := l.ours.ReadFrom(b)
		return n, err
	}, func(d []byte) {
		if len(d) > 0 {
			session.Write(d)
		}
	})
	return l.addr
}

// Offer and Finish are what an honest rendezvous would have brought: mallory needs
// honest sessions to attack.
func (m *mallory) Offer(ctx context.Context, o wire.SignalOffer) (a wire.SignalAnswer, err error) {
	b, ok := m.ask(ctx, askOffer, o)
	if !ok {
		return a, errors.New("no answer: " + string(b))
	}
	return a, envelope.Unmarshal(b, &a)
}

func (m *mallory) Finish(f wire.SignalFinish)                { m.tell(tellFinish, f) }
func (m *mallory) Welcome(wire.SignalWelcome)                {}
func (m *mallory) Roster(context.Context, wire.SignalRoster) {}
func (m *mallory) head(t *testing.T) (seq uint64) {
	t.Helper()
	b, ok := m.ask(t.Context(), askHead, nil)
	var h struct {
		Known bool          `cbor:"known"`
		Seq   uint64        `cbor:"seq"`
		Hash  envelope.Hash `cbor:"hash"`
	}
	if !ok || envelope.Unmarshal(b, &h) != nil {
		t.Fatal("no head")
	}
	return h.Seq
}

// enrol gives the agent its true roster, and an hour of confidence in it: without
// those no session is there to be attacked.
func (m *mallory) enrol(t *testing.T) {
	t.Helper()
	_, ok := m.ask(t.Context(), askGenesis, map[string]any{"genesis": m.w.genesis})
	if ok {
		_, ok = m.ask(t.Context(), askLearn, map[string]any{"statements": m.w.roster.Statements(0)})
	}
	if ok {
		h := m.w.roster.Head()
		_, ok = m.ask(t.Context(), 8, map[string]any{"known": true, "seq": h.Seq, "hash": h.Hash})
	}
	if !ok {
		t.Fatal("the agent has no roster")
	}
	m.w.handler = m
}

// The drill: the network half is taken over. It reads nothing, starts nothing, has
// nothing signed but that the agent is there, and changes no roster.
func TestCompromisedNetworkHalf(t *testing.T) {
	w := newWorld(t)
	m, started := w.taken()
	m.enrol(t)

	t.Run("reads nothing", func(t *testing.T) {
		e := w.try(attempt{argv: []string{"sh", "-c", "echo canary-in-argv | tr a-z A-Z"}})
		if e.stdout != "CANARY-IN-ARGV\n" || e.exit.Code != 0 {
			t.Fatalf("%+v\n%s", e, w.logs)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if text := strings.ToLower(m.seen.String()); len(text) < 4096 || strings.Contains(text, "canary") {
			t.Errorf("the canary, or nothing at all (%d bytes)", len(text))
		}
	})

	t.Run("replays, reorders, forges and injects datagrams", func(t *testing.T) {
		var mu sync.Mutex
		var old [][]byte
		evil := func(d []byte, pass func([]byte)) {
			mu.Lock()
			old = append(old, d)
			again, late := old[len(old)/2], len(old)%8 == 0
			mu.Unlock()
			if late {
				defer pass(d)
				time.Sleep(time.Millisecond)
				d = again
			}
			for i := 0; i < len(d); i += 1 + len(d)/8 {
				forged := bytes.Clone(d)
				forged[i] ^= 1
				pass(forged)
			}
			pass(again)
			pass([]byte("something else"))
			pass(d[:len(d)/2])
			pass(d)
			pass(d)
		}
		m.forward.Store(&evil)
		defer m.forward.Store(nil)
		input := strings.Repeat("each line once\n", 2000)
		e := w.try(attempt{argv: []string{"cat"}, stdin: "stream", input: input})
		if e.stdout != input || e.exit.Code != 0 || e.err != nil {
			t.Errorf("%d bytes of %d came back, %+v %v", len(e.stdout), len(input), e.exit, e.err)
		}
	})

	argv, ran := canary(t)
	t.Run("starts nothing", func(t *testing.T) {
		e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob)})
		if !e.answer.Allowed() || !ran() {
			t.Fatalf("the honest one did not run: %+v", e)
		}
		w.must(os.Remove(argv[1]))
		honest := *w.last
		ways := m.ways
		offers := map[string]wire.SignalOffer{"as it was": honest.offer}
		for _, cut := range []struct {
			name string
			part func(*wire.SignalOffer) []byte
		}{
			{"the bundle", func(o *wire.SignalOffer) []byte { o.Sealed = bytes.Clone(o.Sealed); return o.Sealed }},
			{"the handshake", func(o *wire.SignalOffer) []byte { o.HS1 = bytes.Clone(o.HS1); return o.HS1 }},
			{"the session", func(o *wire.SignalOffer) []byte { return o.SessionID[:] }},
		} {
			n := len(cut.part(&wire.SignalOffer{Sealed: honest.offer.Sealed, HS1: honest.offer.HS1}))
			for i := range 8 {
				o := honest.offer
				cut.part(&o)[i*(n-1)/7] ^= 1
				offers[fmt.Sprintf("%s, changed at %d of 8", cut.name, i)] = o
			}
		}
		stranger := newPerson(t, "mallory", "sre")
		for name, o := range offers {
			if a, err := m.Offer(t.Context(), o); err == nil {
				t.Errorf("%s: answered %q", name, a.Candidate)
			}
			m.Finish(wire.SignalFinish{SessionID: o.SessionID, HS3: honest.hs3})
		}
		// A bundle of its own: mallory has keys, and none that the roster knows.
		if e := w.try(attempt{by: &stranger, argv: argv, approve: w.approvedBy(w.bob)}); !e.silent {
			t.Errorf("a stranger: %+v", e)
		}
		// An honest session that wants no approval is open; its third message comes
		// forged, and twice.
		w.forge = [][]byte{bytes.Repeat([]byte{7}, 200), honest.hs3}
		if e := w.try(attempt{argv: []string{"true"}}); e.exit.Code != 0 || e.err != nil {
			t.Errorf("an honest session between forged messages: %+v", e)
		}
		w.forge = nil
		m.Finish(wire.SignalFinish{SessionID: w.last.offer.SessionID, HS3: w.last.hs3})
		m.head(t) // all of it was read
		if ran() {
			t.Error("the held command has run again")
		}
		if opened := m.ways - ways; opened != 1 {
			t.Errorf("%d paths were opened, want the honest one's", opened)
		}
		if !slices.Contains(w.logs.codes(), codeUsed) {
			t.Error("the replay was not refused as used")
		}
	})

	t.Run("has nothing else signed", func(t *testing.T) {
		body := envelope.Sum([]byte("{}"))
		for name, r := range map[string][2]string{
			"another server":     {"GET", "http://127.0.0.1:7009/v1/roster?after=0&team=acme"},
			"another scheme":     {"GET", "https://127.0.0.1:7000/v1/roster?after=0&team=acme"},
			"another user":       {"GET", "http://x@127.0.0.1:7000/v1/roster?after=0&team=acme"},
			"another team":       {"GET", "http://127.0.0.1:7000/v1/roster?after=0&team=other"},
			"two teams":          {"GET", "http://127.0.0.1:7000/v1/roster?after=0&team=acme&team=other"},
			"no team":            {"GET", "http://127.0.0.1:7000/v1/roster?after=0"},
			"another method":     {"DELETE", "http://127.0.0.1:7000/v1/roster?team=acme"},
			"another route":      {"POST", "http://127.0.0.1:7000/v1/roster/statements?team=acme"},
			"a session":          {"POST", "http://127.0.0.1:7000/v1/sessions?team=acme"},
			"a longer path":      {"POST", "http://127.0.0.1:7000/v1/entries/../sessions?team=acme"},
			"an escaped path":    {"POST", "http://127.0.0.1:7000/v1/%65ntries?team=acme"},
			"a recording's list": {"GET", "http://127.0.0.1:7000/v1/recordings?team=acme"},
			"no session's":       {"PUT", "http://127.0.0.1:7000/v1/recordings/../segments?team=acme"},
			"more query":         {"POST", "http://127.0.0.1:7000/v1/entries?team=acme&x=y"},
		} {
			if _, ok := m.ask(t.Context(), askRequest, map[string]any{"method": r[0], "url": r[1], "body_sha256": body}); ok {
				t.Errorf("%s: signed", name)
			}
		}
		for _, r := range [][2]string{
			{"GET", "http://127.0.0.1:7000/v1/roster?after=0&team=acme"}, {"POST", "http://127.0.0.1:7000/v1/entries?team=acme"},
			{"PUT", "http://127.0.0.1:7000/v1/recordings/" + token.NewID().String() + "/segments?team=acme"},
		} {
			b, ok := m.ask(t.Context(), askRequest, map[string]any{"method": r[0], "url": r[1], "body_sha256": body})
			var a struct {
				Header string `cbor:"header"`
			}
			if !ok || envelope.Unmarshal(b, &a) != nil {
				t.Fatalf("%s %s: not signed", r[0], r[1])
			}
			// Good for that one request, and under no other context.
			u, err := token.ParseRequest(a.Header)
			w.must(err)
			if _, err := u.Verify(envelope.One(w.agent), token.ExpectRequest{Now: time.Now(), Method: r[0], URL: r[1], BodySHA256: body}); err != nil {
				t.Error(err)
			}
		}
	})

	t.Run("changes no roster", func(t *testing.T) {
		was := m.head(t)
		fake, err := roster.Found(roster.Genesis{
			TeamID: "acme", Threshold: 1, Created: time.Now().Unix(),
			Admins: []roster.AdminDevice{{MemberID: "mallory", Email: "mallory@example.com", Device: newPerson(t, "mallory").device(time.Now().Add(time.Hour))}},
		}, w.alice.key)
		if err == nil {
			if _, ok := m.ask(t.Context(), askGenesis, map[string]any{"genesis": fake}); ok {
				t.Error("another team was joined")
			}
		}
		next, err := w.roster.Next(time.Now(), roster.KindMemberAdd, roster.MemberAdd{
			MemberID: "mallory", Email: "mallory@example.com", Roles: []string{"sre"}, Device: newPerson(t, "mallory").device(time.Now().Add(time.Hour)),
		}, w.admin.key)
		w.must(err)
		for i := range next {
			forged := bytes.Clone(next)
			forged[i] ^= 1
			if i%16 == 0 {
				m.ask(t.Context(), askLearn, map[string]any{"statements": [][]byte{forged}})
			}
		}
		if now := m.head(t); now != was {
			t.Errorf("the head went from %d to %d", was, now)
		}
	})

	t.Run("ends no session by dying, and is started again", func(t *testing.T) {
		w.try(attempt{argv: []string{"cat"}, stdin: "stream", drive: func(_ *channel.Mux, cat *channel.Channel) {
			m.send(kCall, 200, 0, 9, nil, nil) // no such call
			<-m.gone
			m = <-started
			w.handler = m
			_, err := cat.Write([]byte("on we go\n"))
			w.must(err)
			if f, err := cat.ReadFrame(); err != nil || string(f.Payload) != "on we go\n" {
				t.Errorf("the session: %q %v", f.Payload, err)
			}
		}})
	})

	t.Run("loses no entry unseen", func(t *testing.T) {
		// It can't have been handed in what was never given out; saying so ends it.
		m.ask(t.Context(), askHanded, map[string]any{"seq": 1 << 40})
		<-m.gone
		m = <-started
		m.ask(t.Context(), askOwed, map[string]any{"n": 16})
	})
	if text := w.logs.String(); strings.Contains(text, "canary") {
		t.Error("the log holds the command")
	}
}
