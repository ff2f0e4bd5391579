package s3_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/recording/blob/blobtest"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3/s3test"
)

func TestSuite(t *testing.T) {
	cfg := s3test.Start(t)
	for _, prefix := range []string{"", "tucdesk/"} {
		cfg.Prefix = prefix
		s, err := s3.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("prefix "+prefix, func(t *testing.T) { blobtest.Run(t, s) })
	}
	t.Run("WrongSecret", func(t *testing.T) {
		cfg := cfg
		cfg.Secret = "wrong"
		s, err := s3.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "x", strings.NewReader("x"), 1); err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("Put = %v", err)
		}
	})
}

func TestConfig(t *testing.T) {
	good := s3.Config{Endpoint: "https://s3.example.com", Bucket: "b", KeyID: "k", Secret: "canary-secret"}
	if _, err := s3.New(good); err != nil {
		t.Error(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if strings.Contains(fmt.Sprintf(verb, good), "canary") {
			t.Errorf("%s prints the secret", verb)
		}
	}
	for name, change := range map[string]func(*s3.Config){
		"no endpoint": func(c *s3.Config) { c.Endpoint = "" },
		"a path":      func(c *s3.Config) { c.Endpoint = "https://s3.example.com/x" },
		"no scheme":   func(c *s3.Config) { c.Endpoint = "s3.example.com" },
		"no bucket":   func(c *s3.Config) { c.Bucket = "" },
		"no key":      func(c *s3.Config) { c.KeyID = "" },
		"no secret":   func(c *s3.Config) { c.Secret = "" },
	} {
		c := good
		change(&c)
		if _, err := s3.New(c); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
