package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

// ErrPin means a server whose TLS key is none of the pinned ones.
var ErrPin = errors.New("wire: the server's TLS key is none of the pinned ones: it is another server, or its key was changed without a new profile")

// Pin gives what a certificate is pinned by: the SHA-256 of its public key (SPKI).
// It stays when the certificate is renewed for the same key.
func Pin(c *x509.Certificate) envelope.Hash { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// maxPins bounds the pins of one setting: the key in use, the next one, and those
// of another server.
const maxPins = 8

// ParsePins reads pins of a configuration: 64 hexadecimal digits each.
func ParsePins(texts []string) ([]envelope.Hash, error) {
	if len(texts) > maxPins {
		return nil, fmt.Errorf("wire: %d pins, at most %d", len(texts), maxPins)
	}
	var pins []envelope.Hash
	for _, text := range texts {
		pin, err := envelope.ParseHash(text)
		if err == nil && pin.IsZero() {
			err = errors.New("all zero")
		}
		if err != nil {
			return nil, fmt.Errorf("wire: pin %q: %w", text, err)
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

// Pinned makes a client for servers whose certificates are of a site's own
// authority: it takes those whose public key (SPKI) has one of the given SHA-256
// hashes, and no others, whatever any authority says. Without pins it gives nil,
// which everywhere here stands for a client that asks the system's authorities.
func Pinned(pins []envelope.Hash) *http.Client {
	config := PinnedTLS(pins)
	if config == nil {
		return nil
	}
	c := httpClient(nil)
	c.Transport.(*http.Transport).TLSClientConfig = config
	return c
}

// PinnedTLS is [Pinned] for what is not HTTP: nil without pins.
func PinnedTLS(pins []envelope.Hash) *tls.Config {
	if len(pins) == 0 {
		return nil
	}
	pins = slices.Clone(pins)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The pin is exact: names, dates and authorities add nothing to it.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return ErrPin
			}
			if !slices.Contains(pins, Pin(s.PeerCertificates[0])) {
				return ErrPin
			}
			return nil
		},
	}
}
