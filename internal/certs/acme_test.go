package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An authority is an ACME server (RFC 8555) for one name at a time. It takes any
// account's word for its signatures, and checks that a name leads to whoever asks
// by a handshake (RFC 8737), as real ones do.
type authority struct {
	*httptest.Server
	target string // where all names lead
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey

	mu       sync.Mutex
	name     string
	proved   bool
	chain    []byte
	issued   int
	failures []string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	if a.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *authority) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Replay-Nonce", rand.Text())
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	order := func() map[string]any {
		o := map[string]any{
			"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": a.name}},
			"authorizations": []string{a.URL + "/authz"}, "finalize": a.URL + "/finalize",
		}
		switch {
		case a.chain != nil:
			o["status"], o["certificate"] = "valid", a.URL+"/cert"
		case a.proved:
			o["status"] = "ready"
		}
		return o
	}
	challenge := func() map[string]any {
		c := map[string]any{"type": "tls-alpn-01", "url": a.URL + "/challenge", "token": "a-token", "status": "pending"}
		if a.proved {
			c["status"] = "valid"
		}
		return c
	}
	switch r.URL.Path {
	case "/dir":
		answer(200, map[string]string{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/order", "revokeCert": a.URL + "/revoke", "keyChange": a.URL + "/change"})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", a.URL+"/account/1")
		answer(201, map[string]string{"status": "valid"})
	case "/order":
		var in struct{ Identifiers []struct{ Value string } }
		a.payload(r, &in)
		a.name, a.proved, a.chain = in.Identifiers[0].Value, false, nil
		w.Header().Set("Location", a.URL+"/order/1")
		answer(201, order())
	case "/order/1":
		answer(200, order())
	case "/authz":
		status := "pending"
		if a.proved {
			status = "valid"
		}
		answer(200, map[string]any{"status": status, "identifier": map[string]string{"type": "dns", "value": a.name}, "challenges": []any{challenge()}})
	case "/challenge":
		if err := a.check(); err != nil {
			a.failures = append(a.failures, err.Error())
		} else {
			a.proved = true
		}
		answer(200, challenge())
	case "/finalize":
		var in struct{ CSR string }
		a.payload(r, &in)
		if err := a.issue(in.CSR); err != nil {
			a.failures = append(a.failures, err.Error())
		}
		w.Header().Set("Location", a.URL+"/order/1")
		answer(200, order())
	case "/cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		w.Write(a.chain)
	default:
		http.NotFound(w, r)
	}
}

// payload reads what a JWS says.
func (a *authority) payload(r *http.Request, v any) {
	var jws struct{ Payload string }
	json.NewDecoder(r.Body).Decode(&jws)
	b, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
	json.Unmarshal(b, v)
}

// check asks whoever has the name whether they want a certificate.
func (a *authority) check() error {
	c, err := tls.Dial("tcp", a.target, &tls.Config{ServerName: a.name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && c.ConnectionState().NegotiatedProtocol == "acme-tls/1" {
			return leaf.VerifyHostname(a.name)
		}
	}
	return fmt.Errorf("no proof at %s", a.name)
}

func (a *authority) issue(csr string) error {
	der, err := base64.RawURLEncoding.DecodeString(csr)
	if err != nil {
		return err
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil || !a.proved {
		return fmt.Errorf("not proved, or %v", err)
	}
	a.issued++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(100 + a.issued)), Subject: req.Subject, DNSNames: req.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, a.ca, req.PublicKey, a.key)
	if err != nil {
		return err
	}
	a.chain = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Raw})...)
	return nil
}

// TestACME gets a certificate from an authority on the listener that serves,
// serves with it over HTTP/2, keeps it over a restart, and gets none for a name
// that is not configured.
func TestACME(t *testing.T) {
	a := newAuthority(t)
	s := Settings{
		Domains: []string{"tucdesk.example.com"}, Cache: filepath.Join(t.TempDir(), "acme"), Directory: a.URL + "/dir", Email: "ops@example.com",
	}
	start := func() (*http.Client, func()) {
		c, err := s.Config(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		a.target = l.Addr().String()
		a.mu.Unlock()
		srv := &http.Server{TLSConfig: c, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })}
		srv.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
		go srv.ServeTLS(l, "", "")
		roots := x509.NewCertPool()
		roots.AddCert(a.ca)
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
			},
		}
		return &http.Client{Transport: transport}, func() { transport.CloseIdleConnections(); srv.Close() }
	}
	get := func(c *http.Client, host string) (string, error) {
		resp, err := c.Get("https://" + host + "/")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	client, stop := start()
	if got, err := get(client, "tucdesk.example.com"); err != nil || got != "HTTP/2.0" {
		t.Fatalf("%q, %v; the authority says %q", got, err, a.failures)
	}
	if _, err := get(client, "other.example.com"); err == nil {
		t.Error("a name that is not configured got a certificate")
	}
	stop()
	client, stop = start()
	defer stop()
	if _, err := get(client, "tucdesk.example.com"); err != nil {
		t.Fatal(err)
	}
	if a.issued != 1 {
		t.Errorf("%d certificates were issued for one name", a.issued)
	}
	err := filepath.WalkDir(s.Cache, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && !strings.Contains(path, "http-01") {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
