package carrier

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A Transport is what lies between a client and its relay.
type Transport string

// The transports, from the best to what passes most networks.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// Rank orders transports: the lower, the better.
func (t Transport) Rank() int {
	switch t {
	case UDP:
		return 0
	case TCP:
		return 1
	}
	return 2
}

// ErrAddress means a text that names no relay.
var ErrAddress = errors.New("carrier: not a relay's address; want host:port, or host:port,tls=port where it has TLS too")

// An Address says where a relay is. It listens on Port over UDP, and over TCP
// where it does that at all.
type Address struct {
	Host string // a name or an IP address
	Port uint16
	TLS  uint16 // port of TURN over TLS on the same host; 0: none
}

const tlsMark = ",tls="

// Parse reads an address: "relay.example.com:3478", with ",tls=443" behind it where
// the relay has TLS too. Port 0 is refused.
func Parse(text string) (Address, error) {
	front, port, hasTLS := strings.Cut(text, tlsMark)
	host, main, err := net.SplitHostPort(front)
	if err != nil || !isHost(host) {
		return Address{}, fmt.Errorf("%w: %.100q", ErrAddress, text)
	}
	a := Address{Host: host}
	if a.Port, err = parsePort(main); err == nil && hasTLS {
		a.TLS, err = parsePort(port)
	}
	if err != nil || a.String() != text {
		return Address{}, fmt.Errorf("%w: %.100q", ErrAddress, text)
	}
	return a, nil
}

// isHost reports whether s is an IP address, or consists of what names of hosts do.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, ErrAddress
	}
	return uint16(n), nil
}

// String is the inverse of [Parse].
func (a Address) String() string {
	s := net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	if a.TLS != 0 {
		s += tlsMark + strconv.Itoa(int(a.TLS))
	}
	return s
}

// Transports lists what leads to the relay, the best first.
func (a Address) Transports() []Transport {
	if a.TLS == 0 {
		return []Transport{UDP, TCP}
	}
	return []Transport{UDP, TCP, TLS}
}

// at is host:port for one transport.
func (a Address) at(t Transport) string {
	port := a.Port
	if t == TLS {
		port = a.TLS
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(port)))
}
