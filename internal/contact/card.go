package contact

import (
	"strings"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/words"
)

// Version is the format version of everything here.
const Version = 1

const (
	cardPrefix = "tdc1."
	maxURL     = 256
	maxPins    = 8
)

// A Card says which team, and where its servers are. It holds no secret, but who
// takes a wrong one joins a wrong team: people compare its Words.
type Card struct {
	V          uint64          `cbor:"v"`
	API        string          `cbor:"api"`        // URL of apid
	Rendezvous string          `cbor:"rendezvous"` // URL of rendezvousd
	Pins       []envelope.Hash `cbor:"pins"`       // SHA-256 of the servers' public keys (SPKI); empty: the system's authorities
	TeamID     string          `cbor:"team_id"`
	TeamFP     envelope.Hash   `cbor:"team_fp"`
	Head       roster.Head     `cbor:"head"` // of its making: no older roster is taken
}

// Check answers ErrMalformed unless every field is within its bounds. Who uses
// the URLs parses them.
func (c Card) Check() error {
	switch {
	case c.V != Version:
		return malformed("card: unknown version %d; update TucDesk", c.V)
	case !isURL(c.API) || !isURL(c.Rendezvous):
		return malformed("card: api and rendezvous are URLs of at most %d characters", maxURL)
	case len(c.Pins) > maxPins:
		return malformed("card: more than %d pins", maxPins)
	case sanitize.Name(c.TeamID) != nil:
		return malformed("card: team_id is not a name that may enter the system")
	case c.TeamFP.IsZero() || c.Head.Hash.IsZero():
		return malformed("card: team_fp or head is missing")
	case c.Head.Seq == 0 && c.Head.Hash != c.TeamFP:
		return malformed("card: head 0 is the genesis")
	}
	for _, p := range c.Pins {
		if p.IsZero() {
			return malformed("card: an empty pin")
		}
	}
	return nil
}

func isURL(s string) bool {
	return len(s) <= maxURL && (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Text gives the card as a line of text.
func (c Card) Text() (string, error) {
	c.V = Version
	if err := c.Check(); err != nil {
		return "", err
	}
	return write(cardPrefix, c)
}

// ParseCard is the inverse of Text.
func ParseCard(s string) (Card, error) {
	var c Card
	if err := read(cardPrefix, "a card", s, &c); err != nil {
		return Card{}, err
	}
	if err := c.Check(); err != nil {
		return Card{}, err
	}
	return c, nil
}

// Words gives the six words of the card's team.
func (c Card) Words() words.Phrase { return TeamWords(c.TeamFP) }

// TeamWords gives the six words of a team.
func TeamWords(fp envelope.Hash) words.Phrase { return words.Of("team", fp) }

// DeviceWords gives the six words of a device's two public keys.
func DeviceWords(p key.Public, r key.Recipient) words.Phrase {
	return words.Of("device", envelope.Sum(append(p.Bytes(), r.String()...)))
}
