package contact

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

const (
	tokenPrefix = "tde1."
	// TokenLife is the longest life of a token: it is copied to many machines.
	TokenLife = time.Hour
	// MaxUses bounds the machines of one token.
	MaxUses = 10_000
	maxTags = 16
)

// A Token lets machines of a fleet ask an enroller to be added. It holds a
// secret: every fmt verb prints it redacted.
type Token struct {
	TokenTerms
	secret secret
}

// TokenTerms are a token without its secret.
type TokenTerms struct {
	Card      Card              `cbor:"card"`
	Names     string            `cbor:"names"`      // how names of its machines begin
	Tags      map[string]string `cbor:"tags"`       // of its machines
	LoginUser string            `cbor:"login_user"` // of its machines
	MaxUses   uint64            `cbor:"max_uses"`
	Created   int64             `cbor:"created"` // Unix seconds
	Exp       int64             `cbor:"exp"`     // Unix seconds, at most TokenLife after Created
}

// wireToken is the payload of a token's text.
type wireToken struct {
	V      uint64     `cbor:"v"`
	Secret []byte     `cbor:"secret"`
	Terms  TokenTerms `cbor:"terms"`
}

// NewToken makes a token with a new secret.
func NewToken(t TokenTerms) (Token, error) {
	t.Card.V = Version
	t.Tags = maps.Clone(t.Tags)
	return Token{t, newSecret()}, t.check()
}

func (t *TokenTerms) check() error {
	if err := t.Card.Check(); err != nil {
		return err
	}
	switch {
	case t.MaxUses == 0 || t.MaxUses > MaxUses:
		return malformed("token: 1 to %d uses", MaxUses)
	case t.Exp <= t.Created || t.Exp > t.Created+int64(TokenLife/time.Second):
		return malformed("token: valid for at most %s", TokenLife)
	case sanitize.Name(t.Names) != nil || sanitize.Name(t.LoginUser) != nil:
		return malformed("token: names and login_user are names that may enter the system")
	case len(t.Tags) == 0 || len(t.Tags) > maxTags:
		return malformed("token: 1 to %d tags", maxTags)
	}
	for k, v := range t.Tags {
		if sanitize.Name(k) != nil || sanitize.Name(v) != nil {
			return malformed("token: a tag is not made of names that may enter the system")
		}
	}
	return nil
}

// Format implements fmt.Formatter.
func (Token) Format(f fmt.State, _ rune) { io.WriteString(f, "contact.Token(redacted)") }

// Text gives the token for whoever installs the machines.
func (t Token) Text() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	s := t.secret.b()
	return write(tokenPrefix, wireToken{V: Version, Secret: s[:], Terms: t.TokenTerms})
}

// ParseToken is the inverse of Text.
func ParseToken(s string) (Token, error) {
	var w wireToken
	if err := read(tokenPrefix, "a token", s, &w); err != nil {
		return Token{}, err
	}
	if w.V != Version {
		return Token{}, malformed("token: unknown version %d; update TucDesk", w.V)
	}
	if len(w.Secret) != secretSize {
		return Token{}, malformed("token: the secret has %d bytes", len(w.Secret))
	}
	t := Token{w.Terms, secretOf([secretSize]byte(w.Secret))}
	if t.secret.isZero() {
		return Token{}, malformed("token: without a secret")
	}
	if err := t.check(); err != nil {
		return Token{}, err
	}
	return t, nil
}

// Valid answers ErrExpired before and after the token's time.
func (t Token) Valid(now time.Time) error {
	// A clock that is a little behind the enroller's is no reason to refuse.
	if now.Unix() >= t.Exp || now.Add(time.Minute).Unix() < t.Created {
		return fmt.Errorf("%w: the token is valid from %s to %s", ErrExpired, time.Unix(t.Created, 0).UTC().Format(time.RFC3339), time.Unix(t.Exp, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// Name gives a machine's name under this token: the wish, with the beginning
// that the token demands.
func (t Token) Name(wish string) string {
	if strings.HasPrefix(wish, t.Names) {
		return wish
	}
	return t.Names + wish
}

// Meeting gives the meeting of this token: of its machines and the enroller.
func (t Token) Meeting() Meeting {
	return Meeting{topic: t.secret.topic(), secret: t.secret, expect: func(r VerifiedRequest) error {
		if b := r.Body(); b.Email != "" || b.Name == "" || !strings.HasPrefix(b.Name, t.Names) {
			return fmt.Errorf("%w: the token is for machines whose name begins with %q", ErrMismatch, t.Names)
		}
		return nil
	}}
}
