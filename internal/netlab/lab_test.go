//go:build netlab && linux

package netlab

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// able skips aloud, or fails where everything must run.
func able(t *testing.T) {
	t.Helper()
	if err := Able(); err != nil {
		skiptest.Missing(t, "%v", err)
	}
}

// listen opens a UDP socket on a host.
func listen(t *testing.T, h *Host) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := inside(h.space, func() (err error) {
		c, err = net.ListenPacket("udp4", h.Addr.String()+":4000")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// receive gives what comes within a time, and from where; nothing: nil.
func receive(t *testing.T, c net.PacketConn, within time.Duration) ([]byte, string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	c.SetReadDeadline(time.Now().Add(within))
	n, from, err := c.ReadFrom(buf)
	if err != nil {
		return nil, ""
	}
	return buf[:n], from.String()
}

func TestLab(t *testing.T) {
	able(t)
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var hosts []*Host
	var socks []net.PacketConn
	for _, name := range []string{"a", "b"} {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		hosts, socks = append(hosts, h), append(socks, listen(t, h))
	}
	a, b := hosts[0], hosts[1]
	toB := socks[1].LocalAddr()
	const soon, never = 30 * time.Second, 200 * time.Millisecond
	send := func(size int) []byte {
		t.Helper()
		d := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := socks[0].WriteTo(d, toB); err != nil {
			t.Fatal(err)
		}
		return d
	}

	if d := send(100); true {
		got, from := receive(t, socks[1], soon)
		if !bytes.Equal(got, d) || from != a.Addr.String()+":4000" {
			t.Fatalf("got %d bytes from %s", len(got), from)
		}
	}

	a.Weather(memnet.Options{Delay: 50 * time.Millisecond})
	begin := time.Now()
	send(100)
	if got, _ := receive(t, socks[1], soon); got == nil || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("%d bytes after %s", len(got), time.Since(begin))
	}
	a.Weather(memnet.Options{Loss: 1})
	send(100)
	if got, _ := receive(t, socks[1], never); got != nil {
		t.Error("what is lost arrives")
	}
	a.Weather(memnet.Options{})

	// The system cuts datagrams for the first link, the router for the second: after
	// one was refused, where they must not be cut.
	if err := b.MTU(576); err != nil {
		t.Fatal(err)
	}
	whole := false
	for range 5 {
		d := send(1237)
		if got, _ := receive(t, socks[1], never); bytes.Equal(got, d) {
			whole = true
			break
		}
	}
	if !whole {
		t.Error("1237 bytes do not pass an MTU of 576")
	}
	if err := b.MTU(1500); err != nil {
		t.Fatal(err)
	}

	p := a.Move()
	send(10)
	if got, from := receive(t, socks[1], soon); len(got) != 10 || from != p.String()+":4000" {
		t.Errorf("%d bytes from %s, want from %s", len(got), from, p)
	}
	old := net.UDPAddr{IP: p.AsSlice(), Port: 4000}
	for range 2 {
		socks[1].WriteTo([]byte("back"), &old)
		if got, _ := receive(t, socks[0], soon); string(got) != "back" {
			t.Error("no answer to a moved host")
		}
	}
	a.Move()
	socks[1].WriteTo([]byte("gone"), &old)
	if got, _ := receive(t, socks[0], never); got != nil {
		t.Error("an answer to where the host is no more arrives")
	}

	b.BlockUDP(true)
	send(10)
	if got, _ := receive(t, socks[1], never); got != nil {
		t.Error("UDP is blocked and arrives")
	}
}
