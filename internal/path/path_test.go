package path_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// pair opens both sides of one session on a relay of its own.
func pair(t testing.TB) (operator, agent *path.Relayed) {
	t.Helper()
	sides, _ := pairOn(t)
	return sides[0], sides[1]
}

// pairOn is pair with a relay that can be stopped.
func pairOn(t testing.TB) (sides [2]*path.Relayed, stop func()) {
	t.Helper()
	secret := cred.NewSecret()
	s, err := relay.New(relay.Config{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	<-ready
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	for i, side := range []cred.Side{cred.Operator, cred.Agent} {
		c := secret.Mint([16]byte{1}, side, time.Now().Add(time.Hour))
		r, err := path.OpenRelay(t.Context(), s.Addr().String(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		sides[i] = r
	}
	return sides, stop
}

func permit(t testing.TB, from, to *path.Relayed) {
	t.Helper()
	if err := from.Permit(t.Context(), to.LocalRelayed()); err != nil {
		t.Fatal(err)
	}
}

func TestNothingBeforePermit(t *testing.T) {
	operator, agent := pair(t)
	if _, err := operator.WriteTo([]byte("x"), agent.LocalRelayed()); !errors.Is(err, path.ErrNotPermitted) {
		t.Errorf("write before Permit: %v", err)
	}
	permit(t, operator, agent)
	if _, err := operator.WriteTo([]byte("unheard"), agent.LocalRelayed()); err != nil {
		t.Fatal(err)
	}
	// The agent has not permitted the operator: the relay drops.
	agent.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, _, err := agent.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v before Permit", n, err)
	}
}

func TestPermitRefuses(t *testing.T) {
	operator, agent := pair(t)
	if err := operator.Permit(t.Context(), &net.TCPAddr{}); err == nil {
		t.Error("a TCP address was permitted")
	}
	if err := operator.Permit(t.Context(), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); !errors.Is(err, path.ErrRefused) {
		t.Errorf("an address outside the relay: %v", err)
	}
	permit(t, operator, agent) // a refusal does not use up the one peer
	permit(t, operator, agent) // again is fine
	if err := operator.Permit(t.Context(), operator.LocalRelayed()); !errors.Is(err, path.ErrNotPermitted) {
		t.Errorf("a second peer: %v", err)
	}
	if _, err := operator.WriteTo([]byte("x"), operator.LocalRelayed()); !errors.Is(err, path.ErrNotPermitted) {
		t.Errorf("write to another: %v", err)
	}
	if _, err := operator.WriteTo(make([]byte, path.MaxDatagram+1), agent.LocalRelayed()); !errors.Is(err, path.ErrTooLong) {
		t.Errorf("a long datagram: %v", err)
	}
}

func TestShortBuffer(t *testing.T) {
	operator, agent := pair(t)
	permit(t, operator, agent)
	permit(t, agent, operator)
	if _, err := operator.WriteTo([]byte("longer than four"), agent.LocalRelayed()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := agent.ReadFrom(make([]byte, 4)); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("got %v", err)
	}
}

func TestDeadlines(t *testing.T) {
	_, agent := pair(t)
	buf := make([]byte, 10)
	agent.SetReadDeadline(time.Now().Add(-time.Second))
	for range 3 { // a deadline that has passed stays passed
		if _, _, err := agent.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	}
	var ne net.Error
	if _, _, err := agent.ReadFrom(buf); !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%v is not a time-out of package net", err)
	}
	// One deadline ends all reads that wait.
	agent.SetReadDeadline(time.Time{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			if _, _, err := agent.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	agent.SetDeadline(time.Now().Add(10 * time.Millisecond))
	readers.Wait()
}

func TestCloseEndsReads(t *testing.T) {
	operator, agent := pair(t)
	permit(t, operator, agent)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			if _, _, err := operator.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	for range 2 {
		if err := operator.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	readers.Wait()
	if _, err := operator.WriteTo([]byte("x"), agent.LocalRelayed()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := operator.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after close: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := gone.LocalAddr().String()
	gone.Close()
	c := cred.NewSecret().Mint([16]byte{1}, cred.Agent, time.Now().Add(time.Hour))
	if _, err := path.OpenRelay(t.Context(), addr, c); !errors.Is(err, path.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if _, err := path.OpenRelay(t.Context(), "127.0.0.1", c); !errors.Is(err, path.ErrUnreachable) {
		t.Errorf("without a port: %v", err)
	}
}

func TestOpeningStopsWithItsContext(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		silent.ReadFrom(make([]byte, 2000)) // the first request
		cancel()
	}()
	c := cred.NewSecret().Mint([16]byte{1}, cred.Agent, time.Now().Add(time.Hour))
	_, err = path.OpenRelay(ctx, silent.LocalAddr().String(), c)
	if !errors.Is(err, path.ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A process that has died leaves a socket on which the relay knows an allocation,
// and which another process has kept. The path goes on there: same address, same
// peer, nothing for the other side to learn.
func TestOpenFromWhatAnotherLeft(t *testing.T) {
	secret := cred.NewSecret()
	s, err := relay.New(relay.Config{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-up
	mint := func(side cred.Side) cred.Credential { return secret.Mint([16]byte{1}, side, time.Now().Add(time.Hour)) }
	operator, err := path.OpenRelay(t.Context(), s.Addr().String(), mint(cred.Operator))
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	// What a killed process leaves: an allocation that nobody has released.
	left, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	sock := left.(*net.UDPConn)
	f, err := sock.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := mint(cred.Agent)
	dead, err := path.OpenRelayOn(t.Context(), plain{sock}, sock.RemoteAddr(), c)
	if err != nil {
		t.Fatal(err)
	}
	permit(t, operator, dead)
	was := dead.LocalRelayed().String()
	sock.SetReadDeadline(time.Now().Add(-time.Second)) // it reads no more

	kept, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := new(path.Dialer).OpenFrom(t.Context(), s.Addr().String(), c, kept.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.LocalRelayed().String() != was {
		t.Errorf("the address was %s and is %s", was, again.LocalRelayed())
	}
	permit(t, again, operator)
	for _, way := range [][2]*path.Relayed{{operator, again}, {again, operator}} {
		if _, err := way[0].WriteTo([]byte("still here"), way[1].LocalRelayed()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, _, err := way[1].ReadFrom(b); err != nil || string(b[:n]) != "still here" {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
}

// plain is a connected socket as a PacketConn.
type plain struct{ *net.UDPConn }

func (c plain) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.Read(p)
	return n, c.RemoteAddr(), err
}

func (c plain) WriteTo(p []byte, _ net.Addr) (int, error) { return c.Write(p) }
