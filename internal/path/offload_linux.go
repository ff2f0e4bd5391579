package path

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An offload is a UDP socket whose datagrams pass the system many at a time, in both
// directions (udp(7): UDP_SEGMENT, UDP_GRO).
type offload struct {
	udp *net.UDPConn
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

// newOffload gives nil where the system can't do it.
func newOffload(c *net.UDPConn) *offload {
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
	o := &offload{udp: c, raw: raw}
	o.out = newOutbox(o.send)
	return o
}

// send sends p, in datagrams of size bytes.
func (o *offload) send(p []byte, size int, to netip.AddrPort) error {
	if len(p) > size && !o.off.Load() {
		oob := make([]byte, unix.CmsgSpace(2))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
		_, _, err := o.udp.WriteMsgUDPAddrPort(p, oob, to)
		if err == nil {
			return nil
		}
		o.off.Store(true) // the card, or what is on the way to it, can't
	}
	for len(p) > 0 {
		n := min(size, len(p))
		if _, err := o.udp.WriteToUDPAddrPort(p[:n], to); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// read gives the next datagram.
func (o *offload) read(p []byte) (int, netip.AddrPort, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.batch == nil {
		if err := o.fetch(); err != nil {
			return 0, netip.AddrPort{}, err
		}
	}
	d := o.rest[:min(o.size, len(o.rest))]
	o.rest = o.rest[len(d):]
	n := copy(p, d)
	if len(o.rest) == 0 {
		batches.Put(o.batch)
		o.batch, o.rest = nil, nil
	}
	return n, o.from, nil
}

// fetch waits for datagrams. It holds a buffer only once there are some.
func (o *offload) fetch() error {
	var n, controls int
	var from unix.Sockaddr
	var rerr error
	err := o.raw.Read(func(fd uintptr) bool {
		b := batches.Get().(*batch)
		n, controls, _, from, rerr = unix.Recvmsg(int(fd), b[:], o.control[:], 0)
		if rerr != nil || n == 0 {
			batches.Put(b)
			return rerr != unix.EAGAIN && rerr != unix.EINTR
		}
		o.batch = b
		return true
	})
	switch {
	case err != nil:
		return err
	case rerr != nil:
		return rerr
	case o.batch == nil: // an empty datagram
		return nil
	}
	o.rest, o.size, o.from = o.batch[:n], n, addrPort(from)
	if size := segment(o.control[:controls]); size > 0 {
		o.size = size
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

func (o *offload) close() { o.out.close() }
