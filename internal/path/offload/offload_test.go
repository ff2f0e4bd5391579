package offload

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var (
	here  = netip.MustParseAddrPort("127.0.0.1:1")
	there = netip.MustParseAddrPort("127.0.0.1:2")
)

// What waits goes together as far as the system can cut it again: to one address, of
// one size but the last. Each datagram is sent once, and in order.
func TestOutboxRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type call struct {
			n, size int
			to      netip.AddrPort
		}
		var calls []call
		var sent []byte
		gate := make(chan struct{})
		o := newOutbox(func(p []byte, size int, to netip.AddrPort) error {
			<-gate
			calls = append(calls, call{len(p), size, to})
			sent = append(sent, p...)
			return nil
		})
		var want []byte
		write := func(n int, to netip.AddrPort) {
			p := make([]byte, n)
			rand.Read(p)
			want = append(want, p...)
			if _, err := o.write(p, to); err != nil {
				t.Fatal(err)
			}
		}
		write(10, here) // is being sent while the others come
		synctest.Wait()
		write(1200, here)
		write(1200, here)
		write(500, here) // ends a run
		write(1200, here)
		write(1201, here) // does not fit into it
		write(1201, there)
		close(gate)
		o.close()
		for _, w := range []call{{10, 10, here}, {2900, 1200, here}, {1200, 1200, here}, {1201, 1201, here}, {1201, 1201, there}} {
			if len(calls) == 0 || calls[0] != w {
				t.Fatalf("%v, want %v first", calls, w)
			}
			calls = calls[1:]
		}
		if !bytes.Equal(sent, want) {
			t.Error("what was sent is not what was written")
		}
		if _, err := o.write([]byte("x"), here); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// A failure is told to the next who writes, once.
func TestOutboxTellsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no route")
		o := newOutbox(func([]byte, int, netip.AddrPort) error { return broken })
		defer o.close()
		o.write([]byte("x"), here)
		synctest.Wait()
		if _, err := o.write([]byte("x"), there); err != nil {
			t.Errorf("another address: %v", err)
		}
		synctest.Wait()
		o.write([]byte("x"), here)
		synctest.Wait()
		if _, err := o.write([]byte("x"), here); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if _, err := o.write([]byte("x"), here); err != nil {
			t.Errorf("told twice: %v", err)
		}
	})
}

// Datagrams of any sizes cross two sockets of the system as they were.
func TestOffload(t *testing.T) {
	var ends [2]*Conn
	for i := range ends {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadBuffer(4 << 20)
		if ends[i] = New(c); ends[i] == nil {
			t.Skip("this system cuts no datagrams (UDP_SEGMENT, UDP_GRO): Linux 5.0 does")
		}
		defer ends[i].Close()
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
	}
	to := ends[1].LocalAddr().(*net.UDPAddr).AddrPort()
	from := ends[0].LocalAddr().(*net.UDPAddr).AddrPort()
	var sent [][]byte
	p := make([]byte, MaxDatagram)
	for i := range 40 {
		for _, n := range []int{1252, 1252, 1252, 36, 1252, 1300, 1, 1472} {
			b := make([]byte, n)
			rand.Read(b)
			sent = append(sent, b)
			if _, err := ends[0].WriteToAddrPort(b, to); err != nil {
				t.Fatal(err)
			}
		}
		if i%4 != 3 {
			continue
		}
		for _, want := range sent {
			n, at, err := ends[1].ReadFromAddrPort(p)
			if err != nil || at != from || !bytes.Equal(p[:n], want) {
				t.Fatalf("%d bytes from %v, %v; want %d", n, at, err, len(want))
			}
		}
		sent = nil
	}
	ends[1].SetReadDeadline(time.Now())
	var ne net.Error
	if _, _, err := ends[1].ReadFromAddrPort(p); !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("after the deadline: %v", err)
	}
	ends[1].Close()
	if _, _, err := ends[1].ReadFromAddrPort(p); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}
