package offload

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Conn is a UDP socket whose datagrams pass the system many at a time, in both
// directions. It is safe for concurrent use.
type Conn struct {
	*net.UDPConn
	raw syscall.RawConn
	out *outbox
	off atomic.Bool // the system has refused to cut what is sent

	mu      sync.Mutex // of the reader
	batch   *batch     // what has come and was not read; nil: nothing
	rest    []byte
	size    int
	from    netip.AddrPort
	control [64]byte
}

type batch [64 << 10]byte

var batches = sync.Pool{New: func() any { return new(batch) }}

// New makes a Conn of c, which it owns from here on; nil, and c as it was, where the
// system can't do it.
func New(c *net.UDPConn) *Conn {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	serr := err
	if err := raw.Control(func(fd uintptr) {
		if _, serr = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT); serr == nil {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		}
	}); err != nil || serr != nil {
		return nil
	}
	many := &Conn{UDPConn: c, raw: raw}
	many.out = newOutbox(many.send)
	return many
}

// send sends p, in datagrams of size bytes.
func (c *Conn) send(p []byte, size int, to netip.AddrPort) error {
	if len(p) > size && !c.off.Load() {
		oob := make([]byte, unix.CmsgSpace(2))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
		_, _, err := c.WriteMsgUDPAddrPort(p, oob, to)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EMSGSIZE): // longer than the way takes in one piece
		case errors.Is(err, unix.EIO), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
			c.off.Store(true) // the card, or what is on the way to it, can't
		default:
			return err
		}
	}
	for len(p) > 0 {
		n := min(size, len(p))
		if _, _, err := c.WriteMsgUDPAddrPort(p[:n], nil, to); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// ReadFromAddrPort gives the next datagram.
func (c *Conn) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.batch == nil {
		if err := c.fetch(); err != nil {
			return 0, netip.AddrPort{}, err
		}
	}
	d := c.rest[:min(c.size, len(c.rest))]
	c.rest = c.rest[len(d):]
	n := copy(p, d)
	if len(c.rest) == 0 {
		batches.Put(c.batch)
		c.batch, c.rest = nil, nil
	}
	return n, c.from, nil
}

// fetch waits for datagrams. It holds a buffer only once there are some.
func (c *Conn) fetch() error {
	var n, controls int
	var from unix.Sockaddr
	var rerr error
	err := c.raw.Read(func(fd uintptr) bool {
		b := batches.Get().(*batch)
		n, controls, _, from, rerr = unix.Recvmsg(int(fd), b[:], c.control[:], 0)
		if rerr != nil || n == 0 {
			batches.Put(b)
			return rerr != unix.EAGAIN && rerr != unix.EINTR
		}
		c.batch = b
		return true
	})
	switch {
	case err != nil:
		return err
	case rerr != nil:
		return rerr
	case c.batch == nil: // an empty datagram
		return nil
	}
	c.rest, c.size, c.from = c.batch[:n], n, addrPort(from)
	if size := segment(c.control[:controls]); size > 0 {
		c.size = size
	}
	return nil
}

// segment is the size of the datagrams that came as one; 0: it is one.
func segment(control []byte) int {
	all, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range all {
		if m.Header.Level == unix.IPPROTO_UDP && m.Header.Type == unix.UDP_GRO && len(m.Data) >= 2 {
			return int(binary.NativeEndian.Uint16(m.Data))
		}
	}
	return 0
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// WriteToAddrPort sends a datagram of 1 to MaxDatagram bytes; to is the zero value on a
// connected socket. It waits only while too many wait. Its error may be that of an
// earlier one to the same address.
func (c *Conn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) { return c.out.write(p, to) }

// Close closes the socket once what waits was sent, or that takes too long.
func (c *Conn) Close() error {
	c.out.close()
	return c.UDPConn.Close()
}
