package cred

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	session = [16]byte{0xde, 0xad, 15: 0x01}
	expiry  = time.Unix(1_800_000_000, 0)
)

func TestMintAndCheck(t *testing.T) {
	s := NewSecret()
	c := s.Mint(session, Operator, expiry.Add(time.Millisecond))
	id := s.ID()
	if want := fmt.Sprintf("1800000000.dead0000000000000000000000000001.o.%x", id[:]); c.Username != want {
		t.Errorf("user name %s, want %s", c.Username, want)
	}
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(c.Username))
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); string(c.Password) != want {
		t.Errorf("password differs from HMAC-SHA256(secret, user name) in base64")
	}
	n, p, err := Ring{NewSecret(), s}.Check(c.Username, expiry.Add(-time.Nanosecond))
	if err != nil || p != c.Password || n != (Name{expiry, session, Operator, id}) {
		t.Errorf("Check: %+v, %v", n, err)
	}
	if _, _, err := (Ring{s}).Check(c.Username, expiry); !errors.Is(err, ErrExpired) {
		t.Errorf("at its expiry: %v", err)
	}
	for name, r := range map[string]Ring{"no secret": nil, "the zero one": {{}}, "another one": {NewSecret()}} {
		if _, _, err := r.Check(c.Username, time.Unix(0, 0)); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPasswordIsBound(t *testing.T) {
	s := NewSecret()
	c := s.Mint(session, Operator, expiry)
	other := session
	other[15]++
	for name, d := range map[string]Credential{
		"side":    s.Mint(session, Agent, expiry),
		"session": s.Mint(other, Operator, expiry),
		"expiry":  s.Mint(session, Operator, expiry.Add(time.Second)),
		"secret":  NewSecret().Mint(session, Operator, expiry),
	} {
		if d.Password == c.Password {
			t.Errorf("another %s has the same password", name)
		}
	}
}

func TestZeroSecret(t *testing.T) {
	if _, err := ParseSecret((Secret{}).SecretText()); err == nil {
		t.Error("a secret of zeros was parsed")
	}
	for _, f := range []func(){
		func() { (Secret{}).Mint(session, Agent, expiry) },
		func() { NewSecret().Mint(session, 0, expiry) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("Mint did not panic")
				}
			}()
			f()
		}()
	}
}

func TestSecretText(t *testing.T) {
	s := NewSecret()
	again, err := ParseSecret(s.SecretText())
	if err != nil || again != s {
		t.Errorf("does not come back: %v", err)
	}
	text := s.SecretText()
	for _, bad := range []string{"", text[4:], "tds1" + text[4:], text[:len(text)-1], text + "A", text + "=", "tdr1" + strings.Repeat("!", 43)} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("took %d characters", len(bad))
		}
	}
}

func TestNothingPrints(t *testing.T) {
	s := NewSecret()
	c := s.Mint(session, Operator, expiry)
	hidden := []string{s.SecretText()[4:], fmt.Sprintf("%x", s.key[:]), fmt.Sprint(s.key[:]), string(c.Password)}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&printed, verb+verb+verb+verb, s, &s, c, []any{s, c})
	}
	for _, h := range hidden {
		if strings.Contains(printed.String(), h) {
			t.Fatalf("printed:\n%s", printed.String())
		}
	}
	if b, err := json.Marshal(struct{ S Secret }{s}); err == nil {
		t.Errorf("JSON takes a secret: %s", b)
	}
}

func TestParseNameRefuses(t *testing.T) {
	good := Name{expiry, session, Agent, SecretID{1, 0xab}}.String()
	bad := []string{
		"", ".", "..", good + ".", "." + good, " " + good, good + "a", strings.ToUpper(good),
		"+" + good, "0" + good, "-" + good, strings.Replace(good, ".a", ".x", 1), strings.Replace(good, ".a", ".", 1),
		strings.Replace(good, "dead", "DEAD", 1), strings.Replace(good, "dead", "dea", 1), strings.Replace(good, "1800000000", "", 1),
		strings.Replace(good, ".01ab0000", "", 1), strings.Replace(good, "01ab", "01AB", 1), good[:len(good)-1], good + "0",
		strings.Replace(good, "1800000000", "0", 1), strings.Replace(good, "1800000000", "99999999999999999999", 1),
	}
	for _, text := range bad {
		if n, err := ParseName(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %+v, %v", text, n, err)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add(Name{expiry, session, Agent, SecretID{1, 0xab}}.String())
	f.Add("1.00000000000000000000000000000000.o.00000000")
	f.Add("9223372036854775807.ffffffffffffffffffffffffffffffff.a.ffffffff")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		if err == nil && n.String() != text {
			t.Errorf("%q comes back as %q", text, n.String())
		}
	})
}
