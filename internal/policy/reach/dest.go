package reach

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// SSHPort is where sshd listens (RFC 4253, section 4.1).
const SSHPort = 22

// A Dest is where a forward or a proxy leads, as seen from the target.
type Dest struct {
	Host string // a name in lower case, or an address
	Port uint16
}

// String gives HOST:PORT, an IPv6 address in brackets.
func (d Dest) String() string {
	if strings.Contains(d.Host, ":") {
		return "[" + d.Host + "]:" + strconv.Itoa(int(d.Port))
	}
	return d.Host + ":" + strconv.Itoa(int(d.Port))
}

// Addr gives the address, if the host is one and no name.
func (d Dest) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(d.Host)
	return a, err == nil
}

var errDest = errors.New("reach: a destination is HOST:PORT: a name or an address (IPv6 in brackets, no zone), and a number from 1 to 65535")

// ParseDest reads HOST:PORT. Names are put into lower case, addresses into their
// shortest form.
func ParseDest(s string) (Dest, error) {
	host, port, err := split(s)
	if err != nil {
		return Dest{}, err
	}
	n, ok := portNumber(port)
	if !ok {
		return Dest{}, errDest
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return Dest{}, errDest
		}
		return Dest{a.Unmap().String(), n}, nil
	}
	if host = glob.Lower(strings.TrimSuffix(host, ".")); !isName(host) {
		return Dest{}, errDest
	}
	return Dest{host, n}, nil
}

// ParseArgv reads the words of a forward or a proxy: one, spelled as String does.
func ParseArgv(argv []string) (Dest, error) {
	if len(argv) != 1 {
		return Dest{}, errDest
	}
	d, err := ParseDest(argv[0])
	if err == nil && d.String() != argv[0] {
		return Dest{}, fmt.Errorf("reach: write the destination as %s", d)
	}
	return d, err
}

// split cuts HOST:PORT, and takes the brackets off an IPv6 address.
func split(s string) (host, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || len(s) > 300 {
		return "", "", errDest
	}
	host, port = s[:i], s[i+1:]
	inside, open := strings.CutPrefix(host, "[")
	if inside, shut := strings.CutSuffix(inside, "]"); open && shut && strings.Contains(inside, ":") {
		return inside, port, nil
	}
	if strings.ContainsAny(host, ":[]") {
		return "", "", errDest
	}
	return host, port, nil
}

func portNumber(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}

// isName reports whether s looks like a name of DNS, in lower case.
func isName(s string) bool {
	if s == "" || len(s) > 253 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
	}
	return true
}

// metadata are addresses at which clouds tell a machine its secrets, and that are not
// link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"),
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052

// IsSpecial reports whether an address is one that a name or a wildcard must not lead
// to: this machine itself, its link, a group, or a cloud's metadata service.
func IsSpecial(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, m := range metadata {
		if a == m {
			return true
		}
	}
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240)
}

const localhost = "localhost"

// IsSpecial reports whether the destination, as written, is such an address, or a name
// of this machine itself.
func (d Dest) IsSpecial() bool {
	a, ok := d.Addr()
	return ok && IsSpecial(a) || d.Host == localhost || strings.HasSuffix(d.Host, "."+localhost)
}

// MayBeAt reports whether the destination may be reached at an address that its host
// stands for: a special one only where it is what the destination says.
func (d Dest) MayBeAt(a netip.Addr) bool {
	if said, ok := d.Addr(); ok {
		return said == a.Unmap()
	}
	return !IsSpecial(a) || d.Host == localhost && a.IsLoopback()
}

// IsOwnSSH reports whether the destination is the target's own sshd, as far as can be
// told without looking.
func (d Dest) IsOwnSSH() bool {
	a, ok := d.Addr()
	return d.Port == SSHPort && (d.Host == localhost || ok && a.IsLoopback())
}

// A Dests is a pattern of destinations: HOST:PORT, in which the host is an address, a
// network as 10.0.0.0/8, or a glob of names, and * alone is any of them; the port is a
// number, a range as 8000-8999, or *.
type Dests struct {
	text     string
	any      bool
	name     glob.Glob
	addr     netip.Addr   // valid: this address
	network  netip.Prefix // valid: these
	from, to uint16
}

// ParseDests reads a pattern.
func ParseDests(s string) (Dests, error) {
	bad := errors.New("write HOST:PORT: an address, a network as 10.0.0.0/8 or a name with * as wildcard, and a number, a range as 8000-8999 or *; IPv6 in brackets")
	host, port, err := split(s)
	if err != nil {
		return Dests{}, bad
	}
	p := Dests{text: s, from: 1, to: 65535}
	if port != "*" {
		first, last, isRange := strings.Cut(port, "-")
		if !isRange {
			last = first
		}
		var ok, ok2 bool
		p.from, ok = portNumber(first)
		p.to, ok2 = portNumber(last)
		if !ok || !ok2 || p.from > p.to {
			return Dests{}, bad
		}
	}
	if host == "*" {
		p.any = true
		return p, nil
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		p.addr = a.Unmap()
		return p, nil
	}
	if n, err := netip.ParsePrefix(host); err == nil {
		if n != n.Masked() || n.Addr().Is4In6() {
			return Dests{}, fmt.Errorf("the network is %s", n.Masked())
		}
		p.network = n
		return p, nil
	}
	host = glob.Lower(host)
	if !isName(strings.ReplaceAll(host, "*", "x")) {
		return Dests{}, bad
	}
	p.name = glob.New(host)
	return p, nil
}

// String gives the pattern as it was written.
func (p Dests) String() string { return p.text }

// Covers reports whether the pattern names a destination. A special one only by itself,
// or by a network that is special as a whole.
func (p Dests) Covers(d Dest) bool {
	if !p.Meets(d) {
		return false
	}
	switch {
	case !d.IsSpecial(), p.addr.IsValid():
		return true
	case p.network.IsValid():
		return p.network.Bits() >= 8 && IsSpecial(p.network.Addr())
	}
	return !p.any && p.name.IsLiteral()
}

// Meets is Covers without care for what is special: for patterns that deny.
func (p Dests) Meets(d Dest) bool {
	if d.Port < p.from || d.Port > p.to {
		return false
	}
	a, isAddr := d.Addr()
	switch {
	case p.any:
		return true
	case p.addr.IsValid():
		return isAddr && a == p.addr
	case p.network.IsValid():
		return isAddr && p.network.Contains(a)
	}
	return !isAddr && p.name.Match(d.Host)
}
