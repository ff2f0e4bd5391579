package path

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Limits of what one side says of itself in one attempt.
const (
	MaxCandidates = 8
	minPort       = 1024 // below are services, which no side of a session is
	maxCredential = 64   // bytes of a fragment or a password
)

// ErrCandidate means a description or an address that is not contacted.
var ErrCandidate = errors.New("path: candidate refused")

// A Candidate is a way to reach a side without the relay.
type Candidate struct {
	Addr      netip.AddrPort `cbor:"addr"`      // 6 bytes for IPv4, 18 for IPv6: address, port (little endian)
	Reflexive bool           `cbor:"reflexive"` // as the relay sees the side: RFC 8445, server-reflexive; else host
}

// A Description is what one side tells the other about one attempt: where it is
// and what ICE's checks are authenticated with (RFC 8445). It passes inside the
// session, sealed; the rendezvous and the relay never see one. It prints as
// little as possible.
type Description struct {
	Fragment   string      `cbor:"fragment"` // of the user name
	Password   string      `cbor:"password"`
	Candidates []Candidate `cbor:"candidates"`
}

// Format implements [fmt.Formatter].
func (d Description) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "path.Description(%d candidates, redacted)", len(d.Candidates))
}

// Check refuses a description whose form is wrong, or that names an address
// which this side does not contact. One such address spoils it all: honest sides
// check their own in the same way. loopback is said in a demo, where nothing but
// loopback is good.
func (d Description) Check(loopback bool) error {
	switch {
	case !credential(d.Fragment, 4), !credential(d.Password, 22): // RFC 8445, section 5.3
		return fmt.Errorf("%w: malformed credentials", ErrCandidate)
	case len(d.Candidates) == 0 || len(d.Candidates) > MaxCandidates:
		return fmt.Errorf("%w: %d candidates, want 1 to %d", ErrCandidate, len(d.Candidates), MaxCandidates)
	}
	for _, c := range d.Candidates {
		if c.Addr.Port() < minPort {
			return fmt.Errorf("%w: a port below %d", ErrCandidate, minPort)
		}
		if err := reachable(c.Addr.Addr(), loopback); err != nil {
			return err
		}
	}
	return nil
}

// credential reports whether s is least to maxCredential of the characters that
// RFC 8839, section 5.4, allows.
func credential(s string, least int) bool {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return len(s) >= least && len(s) <= maxCredential && strings.Trim(s, chars) == ""
}

// special are ranges that no honest candidate is of: addresses that are nobody's,
// and those in which a gateway finds an IPv4 address that would be judged
// otherwise than the whole.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this network
	netip.MustParsePrefix("192.0.0.0/24"),   // protocol assignments; the relay's own
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, and broadcast
	netip.MustParsePrefix("::/96"),          // IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),   // NAT64, RFC 6052
	netip.MustParsePrefix("64:ff9b:1::/48"), // and for local use, RFC 8215
	netip.MustParsePrefix("2001::/32"),      // Teredo
	netip.MustParsePrefix("2002::/16"),      // 6to4
	netip.MustParsePrefix("fec0::/10"),      // site-local
}

// reachable says why an address is neither offered nor contacted; nil if it is.
// Private ranges are fine: one network for both sides is what it is about.
func reachable(a netip.Addr, loopback bool) error {
	switch {
	case !a.IsValid(), a.Zone() != "", a.Is4In6():
		return fmt.Errorf("%w: no plain address", ErrCandidate)
	case a.IsLoopback() && !loopback:
		return fmt.Errorf("%w: loopback is for demos", ErrCandidate)
	case a.IsLoopback():
		return nil
	case loopback:
		return fmt.Errorf("%w: a demo never leaves loopback", ErrCandidate)
	case a.IsLinkLocalUnicast():
		return fmt.Errorf("%w: a link-local address", ErrCandidate)
	case a.IsMulticast(), a.IsUnspecified():
		return fmt.Errorf("%w: not one machine's address", ErrCandidate)
	}
	for _, p := range special {
		if p.Contains(a) {
			return fmt.Errorf("%w: an address of special use", ErrCandidate)
		}
	}
	return nil
}

var _ fmt.Formatter = Description{}
