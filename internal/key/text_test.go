package key

import (
	"errors"
	"testing"
)

// Each key has one text: what encoding/base64 would skip or ignore is refused.
func TestTextIsUnique(t *testing.T) {
	id := IdentityFromSeed([32]byte{1})
	kid, pub, secret := id.Kid().String(), id.Public().String(), id.SecretText()
	for name, c := range map[string]struct {
		text  string
		parse func(string) error
	}{
		"key id":     {kid, func(s string) error { _, err := ParseKid(s); return err }},
		"public key": {pub, func(s string) error { _, err := ParsePublicText(s); return err }},
		"identity":   {secret, func(s string) error { _, err := ParseIdentity(s); return err }},
	} {
		if err := c.parse(c.text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last := len(c.text) - 1
		for _, s := range []string{
			c.text[:9] + "\n" + c.text[9:], c.text + "\r\n", "\n" + c.text, c.text + "=", c.text + " ", c.text[:last],
			c.text[:last] + string(c.text[last]+1), c.text + "A", "",
		} {
			if err := c.parse(s); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s %q: %v", name, s, err)
			}
		}
	}
}
