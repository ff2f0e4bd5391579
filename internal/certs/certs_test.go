package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
)

// pair makes a self-signed certificate for localhost, as PEM.
func pair(t testing.TB, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// served gives the serial number of what a handshake with c shows.
func served(t testing.TB, c *tls.Config) int64 {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, c).Handshake()
	client := tls.Client(b, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if v := client.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("TLS version %x", v)
	}
	return client.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestRenewedFiles(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	cert1, key1 := pair(t, 1)
	cert2, key2 := pair(t, 2)
	write(t, s.Cert, cert1)
	write(t, s.Key, key1)
	var log bytes.Buffer
	f := &files{cert: s.Cert, key: s.Key, logger: slog.New(slog.NewTextHandler(&log, nil))} // looks at each handshake
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{GetCertificate: f.get}
	want := func(serial int64, when string) {
		t.Helper()
		if got := served(t, c); got != serial {
			t.Fatalf("%s: certificate %d, want %d", when, got, serial)
		}
	}
	want(1, "at the start")
	touch := func(path string, b []byte) {
		t.Helper()
		write(t, path, b)
		later := time.Now().Add(time.Duration(log.Len()+1) * time.Second) // a stamp that nothing had before
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	touch(s.Cert, cert2)
	want(1, "half renewed")
	want(1, "half renewed, again")
	if n := strings.Count(log.String(), "can't be used"); n != 1 {
		t.Errorf("the failure was told %d times", n)
	}
	touch(s.Key, key2)
	want(2, "renewed")
	touch(s.Cert, []byte("garbage"))
	want(2, "spoilt")
	if err := os.Remove(s.Key); err != nil {
		t.Fatal(err)
	}
	want(2, "removed")
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the log holds a key")
	}
}

func TestRefusedSettings(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, 1)
	_, other := pair(t, 2)
	path := func(name string, b []byte, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		write(t, p, b)
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good, private := path("cert.pem", cert, 0o644), path("key.pem", key, 0o640)
	names := []string{"tucdesk.example.com"}
	for name, tt := range map[string]struct {
		s   Settings
		key string // of the refused setting
	}{
		"no key":            {Settings{Cert: good}, "tls_key"},
		"no certificate":    {Settings{Key: private}, "tls_cert"},
		"missing":           {Settings{Cert: filepath.Join(dir, "none"), Key: private}, "tls_cert"},
		"missing key":       {Settings{Cert: good, Key: filepath.Join(dir, "none")}, "tls_key"},
		"another key":       {Settings{Cert: good, Key: path("other.pem", other, 0o600)}, "tls_cert"},
		"garbage":           {Settings{Cert: path("garbage", []byte("x"), 0o600), Key: private}, "tls_cert"},
		"too long":          {Settings{Cert: path("long", make([]byte, maxPEM+1), 0o600), Key: private}, "tls_cert"},
		"readable by all":   {Settings{Cert: good, Key: path("open.pem", key, 0o644)}, "tls_key"},
		"both":              {Settings{Cert: good, Key: private, Domains: names, Cache: dir}, "acme_domains"},
		"no cache":          {Settings{Domains: names}, "acme_cache"},
		"cache alone":       {Settings{Cache: dir}, "acme_domains"},
		"wildcard":          {Settings{Domains: []string{"*.example.com"}, Cache: dir}, "acme_domains"},
		"address":           {Settings{Domains: []string{"192.0.2.1"}, Cache: dir}, "acme_domains"},
		"bare name":         {Settings{Domains: []string{"localhost"}, Cache: dir}, "acme_domains"},
		"with a port":       {Settings{Domains: []string{"a.example.com:443"}, Cache: dir}, "acme_domains"},
		"plain directory":   {Settings{Domains: names, Cache: dir, Directory: "http://acme.example.com/dir"}, "acme_directory"},
		"directory of none": {Settings{Domains: names, Cache: dir, Directory: "acme"}, "acme_directory"},
	} {
		c, err := tt.s.Config(slog.New(slog.DiscardHandler))
		var refused *daemon.SettingError
		if name == "readable by all" && runtime.GOOS == "windows" {
			continue // no such modes
		}
		if c != nil || !errors.As(err, &refused) || refused.Key != tt.key {
			t.Errorf("%s: %v, want a refusal of %s", name, err, tt.key)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: the error holds a key", name)
		}
	}
	if c, err := (Settings{}).Config(slog.New(slog.DiscardHandler)); c != nil || err != nil {
		t.Errorf("nothing set: %v, %v", c, err)
	}
	if _, err := (Settings{Cert: good, Key: private}).Config(slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("good files: %v", err)
	}
}
