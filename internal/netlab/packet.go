package netlab

import (
	"encoding/binary"
	"net/netip"
)

// Protocols and flags of IPv4 (RFC 791) that the router looks at.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	minHeader    = 20
	dontFragment = 0x4000
	moreFollow   = 0x2000
	offsetMask   = 0x1fff // in units of 8 bytes
)

// A packet is one of IPv4, checked by parse.
type packet []byte

// parse gives the packet that b begins with, or false if it is none of IPv4.
func parse(b []byte) (packet, bool) {
	if len(b) < minHeader || b[0]>>4 != 4 {
		return nil, false
	}
	p := packet(b)
	size := int(binary.BigEndian.Uint16(b[2:]))
	if p.header() < minHeader || size < p.header() || size > len(b) {
		return nil, false
	}
	return p[:size], true
}

func (p packet) header() int            { return int(p[0]&15) * 4 }
func (p packet) protocol() byte         { return p[9] }
func (p packet) source() netip.Addr     { return netip.AddrFrom4([4]byte(p[12:16])) }
func (p packet) to() netip.Addr         { return netip.AddrFrom4([4]byte(p[16:20])) }
func (p packet) flags() uint16          { return binary.BigEndian.Uint16(p[6:]) }
func (p packet) fixHeader()             { p.setSum(0); p.setSum(checksum(p[:p.header()], 0)) }
func (p packet) setSum(v uint16)        { binary.BigEndian.PutUint16(p[10:], v) }
func (p packet) setSource(a netip.Addr) { p.readdress(12, a) }
func (p packet) setTo(a netip.Addr)     { p.readdress(16, a) }

// readdress changes an address, and the two checksums that cover it.
func (p packet) readdress(at int, a netip.Addr) {
	old, now := [4]byte(p[at:at+4]), a.As4()
	copy(p[at:], now[:])
	p.fixHeader()
	if p.flags()&offsetMask != 0 {
		return // a later fragment: the first has the other checksum
	}
	var sum []byte
	body := p[p.header():]
	switch {
	case p.protocol() == protoTCP && len(body) >= 18:
		sum = body[16:18]
	case p.protocol() == protoUDP && len(body) >= 8 && (body[6] != 0 || body[7] != 0):
		sum = body[6:8]
	default:
		return
	}
	binary.BigEndian.PutUint16(sum, patch(binary.BigEndian.Uint16(sum), old, now))
	if p.protocol() == protoUDP && sum[0] == 0 && sum[1] == 0 {
		sum[0], sum[1] = 0xff, 0xff // 0 means: none (RFC 768)
	}
}

// patch updates a checksum for a changed address (RFC 1624, equation 3).
func patch(sum uint16, old, now [4]byte) uint16 {
	v := uint32(^sum)
	for i := 0; i < 4; i += 2 {
		v += uint32(^binary.BigEndian.Uint16(old[i:])) + uint32(binary.BigEndian.Uint16(now[i:]))
	}
	return ^fold(v)
}

// checksum is the one of RFC 1071 over b, added to begin.
func checksum(b []byte, begin uint32) uint16 {
	v := begin
	for ; len(b) >= 2; b = b[2:] {
		v += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		v += uint32(b[0]) << 8
	}
	return ^fold(v)
}

func fold(v uint32) uint16 {
	for v > 0xffff {
		v = v>>16 + v&0xffff
	}
	return uint16(v)
}

// fragments cuts p into packets of at most mtu bytes. Options are not copied: no
// program here sends any.
func (p packet) fragments(mtu int) []packet {
	h := p.header()
	each := max((mtu-minHeader)&^7, 8)
	first, body := p.flags(), p[h:]
	var out []packet
	for at := 0; at < len(body); at += each {
		piece := body[at:min(at+each, len(body))]
		f := make(packet, minHeader+len(piece))
		copy(f, p[:minHeader])
		f[0] = 4<<4 | minHeader/4
		copy(f[minHeader:], piece)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		flags := first&^offsetMask | first&offsetMask + uint16(at/8)
		if at+each < len(body) {
			flags |= moreFollow
		}
		binary.BigEndian.PutUint16(f[6:], flags)
		f.fixHeader()
		out = append(out, f)
	}
	return out
}

// tooBig is the message of a router to p's sender that the next link takes no more
// than mtu bytes (RFC 792, RFC 1191).
func (p packet) tooBig(router netip.Addr, mtu int) packet {
	const unreachable, needed, own = 3, 4, 8
	quote := p[:min(len(p), p.header()+8)]
	m := make(packet, minHeader+own+len(quote))
	m[0], m[8], m[9] = 4<<4|minHeader/4, 64, protoICMP
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	from, to := router.As4(), p.source().As4()
	copy(m[12:], from[:])
	copy(m[16:], to[:])
	m.fixHeader()
	body := m[minHeader:]
	body[0], body[1] = unreachable, needed
	binary.BigEndian.PutUint16(body[6:], uint16(mtu))
	copy(body[own:], quote)
	binary.BigEndian.PutUint16(body[2:], checksum(body, 0))
	return m
}
