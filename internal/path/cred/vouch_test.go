package cred

import (
	"crypto/sha256"
	"testing"
)

func TestVouch(t *testing.T) {
	s, err := ParseSecret("tdr1AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("a body"))
	text := s.Vouch(sum)
	if want := "b6998485.aXuD69f0L3I7JWPE4nZoQOcr-WcS61dr9hNwi3uEKMw"; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	ring := Ring{NewSecret(), s}
	if !ring.Vouched(sum, text) {
		t.Error("a relay that has the secret is not believed")
	}
	for i := range text {
		for bit := range 8 {
			b := []byte(text)
			b[i] ^= 1 << bit
			if ring.Vouched(sum, string(b)) {
				t.Errorf("believed with another byte %d", i)
			}
		}
	}
	other := sha256.Sum256([]byte("another body"))
	for name, ok := range map[string]bool{
		"another body":   ring.Vouched(other, text),
		"another secret": Ring{NewSecret()}.Vouched(sum, text),
		"no secret":      Ring{}.Vouched(sum, text),
		"the zero one":   Ring{{}}.Vouched(sum, Secret{}.Vouch(sum)),
		"nothing":        ring.Vouched(sum, ""),
		"a password":     ring.Vouched(sum, string(s.Mint(session, Operator, expiry).Password)),
		"more":           ring.Vouched(sum, text+"="),
	} {
		if ok {
			t.Errorf("believed with %s", name)
		}
	}
}
