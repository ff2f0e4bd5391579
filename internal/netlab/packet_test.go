package netlab

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	here   = netip.MustParseAddr("10.77.1.2")
	there  = netip.MustParseAddr("10.77.2.2")
	public = netip.MustParseAddr("10.88.1.9")
)

// build makes a packet with right checksums.
func build(protocol byte, payload int) packet {
	p := make(packet, minHeader+20+payload)
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	a, b := here.As4(), there.As4()
	copy(p[12:], a[:])
	copy(p[16:], b[:])
	for i := range p[minHeader:] {
		p[minHeader+i] = byte(i * 7)
	}
	p.fixHeader()
	body := p[minHeader:]
	at := map[byte]int{protoTCP: 16, protoUDP: 6}[protocol]
	body[at], body[at+1] = 0, 0
	binary.BigEndian.PutUint16(body[at:], p.transportSum())
	return p
}

// transportSum is the checksum over body and pseudo header, which is 0 when the one
// in the packet is right.
func (p packet) transportSum() uint16 {
	body := p[p.header():]
	pseudo := append(bytes.Clone(p[12:20]), 0, p.protocol(), byte(len(body)>>8), byte(len(body)))
	return checksum(body, uint32(^checksum(pseudo, 0)))
}

func TestReaddress(t *testing.T) {
	for _, protocol := range []byte{protoTCP, protoUDP} {
		for size := range 40 {
			p := build(protocol, size)
			before := bytes.Clone(p)
			p.setSource(public)
			p.setTo(here)
			if p.source() != public || p.to() != here || checksum(p[:minHeader], 0) != 0 || p.transportSum() != 0 {
				t.Fatalf("protocol %d, %d bytes: %v to %v, sums %x %x", protocol, size, p.source(), p.to(), checksum(p[:minHeader], 0), p.transportSum())
			}
			p.setSource(here)
			p.setTo(there)
			if !bytes.Equal(before, p) {
				t.Fatalf("protocol %d, %d bytes: there and back made another packet", protocol, size)
			}
		}
	}
}

func TestFragments(t *testing.T) {
	p := build(protoUDP, 1237)
	for _, mtu := range []int{68, 576, 1000, 1276} {
		var body []byte
		pieces := p.fragments(mtu)
		for i, f := range pieces {
			q, ok := parse(f)
			if !ok || len(q) > mtu || checksum(q[:minHeader], 0) != 0 || q.source() != here || q.to() != there {
				t.Fatalf("MTU %d: fragment %d is bad: %x", mtu, i, f)
			}
			if int(q.flags()&offsetMask)*8 != len(body) || (q.flags()&moreFollow != 0) != (i < len(pieces)-1) {
				t.Fatalf("MTU %d: fragment %d has flags %x at %d", mtu, i, q.flags(), len(body))
			}
			body = append(body, q[minHeader:]...)
		}
		if !bytes.Equal(body, p[minHeader:]) {
			t.Errorf("MTU %d: the body is another", mtu)
		}
	}
	// A fragment of a fragment keeps its place.
	last := p.fragments(576)[2].fragments(68)
	if got := last[0].flags() & offsetMask; got != 2*552/8 {
		t.Errorf("offset %d", got)
	}
	if last[len(last)-1].flags()&moreFollow != 0 {
		t.Error("the last fragment of the last promises more")
	}
	if p.fragments(576)[0].fragments(68)[7].flags()&moreFollow == 0 {
		t.Error("a fragment in the middle promises no more")
	}
}

func TestTooBig(t *testing.T) {
	m, ok := parse(build(protoUDP, 1400).tooBig(public, 576))
	if !ok || m.source() != public || m.to() != here || checksum(m[:minHeader], 0) != 0 || checksum(m[minHeader:], 0) != 0 ||
		m[minHeader] != 3 || m[minHeader+1] != 4 || binary.BigEndian.Uint16(m[minHeader+6:]) != 576 {
		t.Errorf("%x", m)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(build(protoTCP, 3)))
	f.Add([]byte(build(protoUDP, 1400)))
	f.Add([]byte{0x4f, 0, 0, 60})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parse(bytes.Clone(b))
		if !ok {
			return
		}
		p.setSource(public)
		p.setTo(here)
		p.tooBig(public, 576)
		for _, piece := range p.fragments(68) {
			if _, ok := parse(piece); !ok {
				t.Fatal("a fragment is no packet")
			}
		}
	})
}
