package channel

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/session"
)

// A roaming is a session in a bubble of synctest, on paths that come and go.
type roaming struct {
	t               *testing.T
	operator, agent *Mux
	cut             *atomic.Bool // of the path that is used now

	mu       sync.Mutex
	captured [][]byte // what the operator has sent
}

const grace = 10 * time.Minute

// newRoaming begins on a network of 20 ms each way.
func newRoaming(t *testing.T) *roaming {
	r := &roaming{t: t}
	a, b := r.pipe()
	r.operator, r.agent = join(t, a, b, Options{Grace: grace})
	return r
}

// pipe gives the two ends of a new path, and makes it the one that cut cuts.
func (r *roaming) pipe() (a, b net.PacketConn) {
	cut := new(atomic.Bool)
	r.cut = cut
	a, b = memnet.PacketPipe(memnet.Options{Delay: 20 * time.Millisecond})
	return &severable{PacketConn: a, cut: cut, sent: func(d []byte) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.captured = append(r.captured, bytes.Clone(d))
	}}, &severable{PacketConn: b, cut: cut}
}

// severable drops everything while cut is set.
type severable struct {
	net.PacketConn
	cut  *atomic.Bool
	sent func([]byte)
}

func (s *severable) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.sent != nil {
		s.sent(b)
	}
	if s.cut.Load() {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

// resume shakes hands and goes on, on a new path or on the one that is there.
func (r *roaming) resume(fresh bool) {
	r.t.Helper()
	co, ca := configs(r.operator.Session().ID())
	i, rs1, err := r.operator.Session().Initiate(co)
	if err != nil {
		r.t.Fatal(err)
	}
	responder, rs2, err := r.agent.Session().Respond(ca, rs1)
	if err != nil {
		r.t.Fatal(err)
	}
	rs3, eo, err := i.Consume(rs2)
	if err != nil {
		r.t.Fatal(err)
	}
	ea, err := responder.Consume(rs3)
	if err != nil {
		r.t.Fatal(err)
	}
	var a, b net.PacketConn
	var toA, toB net.Addr
	if fresh {
		a, b = r.pipe()
		toA, toB = a.LocalAddr(), b.LocalAddr()
	}
	done := make(chan error, 1)
	go func() { done <- r.agent.Resume(r.t.Context(), ea, b, toA) }()
	if err := errors.Join(r.operator.Resume(r.t.Context(), eo, a, toB), <-done); err != nil {
		r.t.Fatal(err)
	}
}

// flood sends as much as goes both ways on one channel of the session, in pieces that
// differ, and gives what comes of it: nil if each byte has arrived once and in order.
func (r *roaming) flood(total int) <-chan error {
	seed := [32]byte{7}
	ends := make(chan error, 4)
	send := func(w *Channel) {
		src := rand.NewChaCha8(seed)
		buf := make([]byte, 10_000)
		for left := total; left > 0; left -= len(buf) {
			src.Read(buf)
			if _, err := w.Write(buf); err != nil {
				ends <- err
				return
			}
		}
		ends <- w.CloseWrite()
	}
	receive := func(c *Channel) {
		got, want := sha256.New(), sha256.New()
		n, err := io.Copy(got, struct{ io.Reader }{c})
		io.CopyN(want, rand.NewChaCha8(seed), int64(total))
		if err == nil && (n != int64(total) || !bytes.Equal(got.Sum(nil), want.Sum(nil))) {
			err = errors.New("what arrived is not what was sent")
		}
		ends <- err
	}
	hold := make(chan struct{})
	c := open(r.t, r.operator, r.agent, OpenMessage{Kind: "copy"}, func(c *Channel) {
		go receive(c)
		send(c)
		<-hold
	})
	go send(c)
	go receive(c)
	done := make(chan error, 1)
	go func() {
		var all error
		for range 4 {
			all = errors.Join(all, <-ends)
		}
		close(hold)
		c.Close()
		done <- all
	}()
	return done
}

// under wants a flood to be on its way still.
func (r *roaming) under(flood <-chan error) {
	r.t.Helper()
	select {
	case err := <-flood:
		r.t.Fatalf("the flood was over before its path was: %v", err)
	default:
	}
}

// ends waits for a flood, and gives how long that took from now.
func (r *roaming) ends(flood <-chan error) time.Duration {
	r.t.Helper()
	from := time.Now()
	if err := <-flood; err != nil {
		r.t.Fatal(err)
	}
	return time.Since(from)
}

// lost wants the operator's side to know, or not, that the link is lost.
func (r *roaming) lost(want bool) {
	r.t.Helper()
	if heard, lost := r.operator.Lost(); lost != want {
		r.t.Fatalf("lost %v, heard %v ago", lost, time.Since(heard))
	}
}

// A network that was away for minutes and comes back is used at once, in the middle
// of a flood both ways, or of nothing.
func TestNetworkComesBack(t *testing.T) {
	for name, away := range map[string]time.Duration{"blink": 3 * time.Second, "half a minute": 30 * time.Second, "nine minutes": 9 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				r := newRoaming(t)
				flood := r.flood(1_500_000)
				time.Sleep(100 * time.Millisecond)
				r.lost(false)
				r.under(flood)
				r.cut.Store(true)
				time.Sleep(away)
				r.lost(away > silence)
				r.cut.Store(false)
				if took := r.ends(flood); took > 10*time.Second {
					t.Errorf("the flood has ended %v after the network was back", took)
				}
				time.Sleep(time.Minute) // idle
				r.lost(false)
				r.cut.Store(true)
				time.Sleep(away)
				r.cut.Store(false)
				if took := r.ends(r.flood(100_000)); took > 10*time.Second {
					t.Errorf("after an idle pause: %v", took)
				}
				r.lost(false)
			})
		})
	}
}

// Whoever sits before a terminal is told of a dead path within 5 s, whenever it dies,
// and before anything is done about it.
func TestSilenceIsTold(t *testing.T) {
	for _, rests := range []time.Duration{0, 300, 700, 1100, 1500, 1900, 1990, 7777} {
		t.Run((rests * time.Millisecond).String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				r := newRoaming(t)
				time.Sleep(30*time.Second + rests*time.Millisecond) // idle
				if heard, silent := r.operator.Silent(); silent || time.Since(heard) > 3*time.Second {
					t.Fatalf("silent before anything was cut, heard %v ago", time.Since(heard))
				}
				r.cut.Store(true)
				time.Sleep(5 * time.Second)
				if heard, silent := r.operator.Silent(); !silent {
					t.Errorf("nothing told 5 s after the cut, heard %v ago", time.Since(heard))
				}
				r.lost(false)
				r.cut.Store(false)
				time.Sleep(10 * time.Second)
				if _, silent := r.operator.Silent(); silent {
					t.Error("still told 10 s after the path was back")
				}
			})
		})
	}
}

// A network that is only bad is not told of as dead: an idle session on a link that loses
// five in a hundred, for an hour.
func TestBadIsNotSilent(t *testing.T) {
	simulated(t, func(t *testing.T) {
		a, b := memnet.PacketPipe(memnet.Options{Delay: 150 * time.Millisecond, Loss: .05, Seed: 11})
		operator, _ := join(t, a, b, Options{Grace: grace})
		told := 0
		for range 3600 {
			time.Sleep(time.Second)
			if _, silent := operator.Silent(); silent {
				told++
			}
		}
		if told > 3 {
			t.Errorf("%d of 3600 seconds were told as silence", told)
		}
	})
}

// The path is gone for good and another one takes over, again and again, in the
// middle of a flood both ways.
func TestResumeOnAnotherPath(t *testing.T) {
	for name, closed := range map[string]bool{"that is silent": false, "that is closed": true} {
		t.Run("a path "+name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				r := newRoaming(t)
				for range 4 {
					flood := r.flood(1_500_000)
					time.Sleep(100 * time.Millisecond)
					r.under(flood)
					r.cut.Store(true)
					if closed {
						r.operator.path.under().Close()
						time.Sleep(time.Second)
						r.lost(true)
					}
					time.Sleep(5 * time.Minute)
					r.lost(true)
					began := time.Now()
					r.resume(true)
					r.lost(false)
					if took := time.Since(began); took > 5*time.Second {
						t.Errorf("resumed after %v", took)
					}
					if took := r.ends(flood); took > 10*time.Second {
						t.Errorf("the flood has ended %v after the resume", took)
					}
				}
				if g := r.operator.Session().Generation(); g != 4 || r.agent.Session().Generation() != g {
					t.Errorf("generation %d", g)
				}
			})
		})
	}
}

// New keys under a session that is busy: nothing is lost.
func TestResumeForKeysAlone(t *testing.T) {
	simulated(t, func(t *testing.T) {
		r := newRoaming(t)
		flood := r.flood(1_500_000)
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			r.resume(false)
		}
		r.ends(flood)
	})
}

// What was captured on paths before is worth nothing on the next one.
func TestReplayAfterReconnect(t *testing.T) {
	simulated(t, func(t *testing.T) {
		r := newRoaming(t)
		tried := 0
		for range 3 {
			r.ends(r.flood(2_000_000))
			time.Sleep(time.Second) // everything has arrived
			r.mu.Lock()
			captured := r.captured
			r.mu.Unlock()
			r.cut.Store(true)
			r.resume(true)
			for _, d := range captured {
				if got, _, err := r.agent.Session().Open(nil, d); !errors.Is(err, session.ErrRecord) {
					t.Fatalf("opened %d bytes: %v", len(got), err)
				}
				tried++
			}
		}
		if tried < 5_000 {
			t.Errorf("only %d datagrams were tried", tried)
		}
		r.ends(r.flood(100_000))
	})
}

// The grace time ends a session that nobody resumes, on both sides.
func TestGraceEnds(t *testing.T) {
	simulated(t, func(t *testing.T) {
		r := newRoaming(t)
		time.Sleep(time.Hour)
		r.cut.Store(true)
		cutAt := time.Now()
		<-r.operator.Done()
		<-r.agent.Done()
		if lived := time.Since(cutAt); lived < grace-time.Minute || lived > grace+time.Minute {
			t.Errorf("lived %v", lived)
		}
		for _, m := range []*Mux{r.operator, r.agent} {
			if !errors.Is(m.Err(), ErrLost) {
				t.Errorf("ended with %v", m.Err())
			}
		}
	})
}

// A resume that is not confirmed leaves the session to the next one; one that comes
// when the session has ended closes its path.
func TestResumeFails(t *testing.T) {
	simulated(t, func(t *testing.T) {
		r := newRoaming(t)
		half := func() (*session.Established, net.PacketConn) {
			co, ca := configs(r.operator.Session().ID())
			i, rs1, err := r.operator.Session().Initiate(co)
			if err != nil {
				t.Fatal(err)
			}
			_, rs2, err := r.agent.Session().Respond(ca, rs1)
			if err != nil {
				t.Fatal(err)
			}
			_, eo, err := i.Consume(rs2)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := r.pipe()
			return eo, a
		}
		eo, a := half()
		if err := r.operator.Resume(t.Context(), eo, a, a.LocalAddr()); !errors.Is(err, ErrLost) {
			t.Errorf("a resume that the agent does not know: %v", err)
		}
		r.resume(true)
		r.ends(r.flood(100_000))
		eo, a = half()
		r.operator.Close()
		if err := r.operator.Resume(t.Context(), eo, a, a.LocalAddr()); err == nil {
			t.Error("a closed session was resumed")
		}
		if _, err := a.WriteTo([]byte("x"), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("its path is open: %v", err)
		}
	})
}
