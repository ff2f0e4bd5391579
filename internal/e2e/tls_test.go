package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// startPart runs a daemon until the test ends, and waits until it serves.
func startPart(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, append([]string{"part", name}, args...)...)
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	line, err := lines.ReadString('\n')
	go io.Copy(io.Discard, lines)
	t.Cleanup(func() {
		hold.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("%s: %v\n%s", name, err, log.String())
		}
	})
	if line != "ready\n" {
		t.Fatalf("%s says %q, %v", name, line, err)
	}
}

// certificate writes a self-signed certificate for localhost.
func certificate(t testing.TB, path string, private *ecdsa.PrivateKey, serial int64) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTLS is a site with certificates of its own: everybody pins the servers' key,
// from the founder's first word to an agent's WebSocket, and a renewed certificate
// of the same key goes unnoticed.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pin := wire.Pin(certificate(t, at("cert.pem"), private, 1))
	var addrs []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
		l.Close()
	}
	url := func(addr string) string { return "https://localhost" + addr[strings.LastIndex(addr, ":"):] }
	api, meet := url(addrs[0]), url(addrs[1])
	files := []string{"--tls-cert", at("cert.pem"), "--tls-key", at("key.pem"), "--admin-listen="}

	keys, errs, code := part(t, "apid", "keys", "init", at("keys"))
	if code != 0 {
		t.Fatal(errs)
	}
	var meetKey string
	for line := range strings.Lines(keys) {
		if f := strings.Fields(line); f[0] == "rendezvous" {
			meetKey = f[1]
		}
	}
	startPart(t, "relayd", "--listen", addrs[2], "--secret-file", at("keys/relay.secret"), "--admin-listen=")
	startPart(t, "apid", append(files, "--listen", addrs[0], "--url", api, "--database", at("apid.db"), "--keys-dir", at("keys"),
		"--relay-secret-file", at("keys/relay.secret"), "--relays", addrs[2], "--rendezvous-url", meet, "--rendezvous-key", meetKey,
		"--rendezvous-pins", pin.String(), "--founding", "first")...)
	startPart(t, "rendezvousd", append(files, "--listen", addrs[1], "--url", meet, "--api-url", api, "--api-pins", pin.String(),
		"--key-file", at("keys/rendezvous.key"))...)

	carol := func(args ...string) (string, string, int) {
		t.Helper()
		return run(t, []string{"TUCDESK_HOME=" + at("carol")}, "", args...)
	}
	must := func(args ...string) string {
		t.Helper()
		out, errs, code := carol(args...)
		if code != 0 {
			t.Fatalf("tucdesk %s: exit %d: %s%s", strings.Join(args, " "), code, out, errs)
		}
		return out
	}
	found := []string{"login", "--found", api, "--team-id", "acme", "--email", "carol@example.com", "--yes"}
	for _, wrong := range [][]string{nil, {"--pin", envelope.Sum([]byte("another")).String()}} {
		if _, errs, code := carol(append(found, wrong...)...); code == 0 || strings.Contains(errs, "panic") {
			t.Fatalf("founded with pins %v: %s", wrong, errs)
		}
	}
	must(append(found, "--pin", pin.String())...)

	// An agent is paired and comes online over its WebSocket.
	pairing := exec.Command(program, "part", "agent", "pair", api, "--pin", pin.String(), "--dir", at("web1"), "--key-file", at("pairing"))
	hold, err := pairing.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := pairing.Start(); err != nil {
		t.Fatal(err)
	}
	var pairingKey []byte
	await(t, "the pairing key", func() bool {
		pairingKey, err = os.ReadFile(at("pairing"))
		return err == nil && strings.HasSuffix(string(pairingKey), "\n")
	})
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	must("pair", strings.TrimSpace(string(pairingKey)), "--name", "web-1", "--tag", "env=prod", "--login-user", me.Username)
	if err := pairing.Wait(); err != nil {
		t.Fatal(err)
	}
	hold.Close()
	policy := fmt.Sprintf(`version: 1
mode: allowlist
allowlist:
  - name: all
    members: [carol@example.com]
    targets: {names: ["*"]}
    sessions: [exec]
    as: [%q]
`, me.Username)
	if err := os.WriteFile(at("policy.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	must("policy", "set", at("policy.yaml"))
	startPart(t, "agent", "--dir", at("web1"), "--admin-listen=")
	await(t, "a command over it all", func() bool {
		out, _, code := carol("exec", "web-1", "--", "echo", "sealed twice")
		return code == 0 && out == "sealed twice\n"
	})

	// HTTP/2, TLS 1.3, and a renewal that nobody notices.
	serial := func(server string) int64 {
		t.Helper()
		client := wire.Pinned([]envelope.Hash{pin})
		defer client.CloseIdleConnections()
		resp, err := client.Get(server + "/v1/server")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Proto != "HTTP/2.0" || resp.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s speaks %s, TLS %x", server, resp.Proto, resp.TLS.Version)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	certificate(t, at("cert.pem"), private, 2)
	for name, server := range map[string]string{"apid": api, "rendezvousd": meet} {
		await(t, name+"'s renewed certificate", func() bool { return serial(server) == 2 })
		old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
		if c, err := tls.Dial("tcp", strings.TrimPrefix(server, "https://"), old); err == nil {
			c.Close()
			t.Errorf("%s speaks TLS 1.2", name)
		}
		resp, err := http.Get(strings.Replace(server, "https", "http", 1) + "/v1/server")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s answers plain http with %s", name, resp.Status)
			}
		}
	}
	must("exec", "web-1", "--", "true")
}
