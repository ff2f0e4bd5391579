package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

// ErrPin means a server whose TLS key is none of the pinned ones.
var ErrPin = errors.New("wire: the server's TLS key is none of the pinned ones: it is another server, or its key was changed without a new profile")

// Pinned makes a client for servers whose certificates are of a site's own
// authority: it takes those whose public key (SPKI) has one of the given SHA-256
// hashes, and no others, whatever any authority says. Without pins it gives nil,
// which everywhere here stands for a client that asks the system's authorities.
func Pinned(pins []envelope.Hash) *http.Client {
	if len(pins) == 0 {
		return nil
	}
	pins = slices.Clone(pins)
	c := httpClient(nil)
	c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The pin is exact: names, dates and authorities add nothing to it.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return ErrPin
			}
			got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if !slices.Contains(pins, envelope.Hash(got)) {
				return ErrPin
			}
			return nil
		},
	}
	return c
}
