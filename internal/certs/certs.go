package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/tucdesk/tucdesk/internal/daemon"
)

// Settings are the keys that every server with TLS has. Nothing set means plain
// HTTP, which servers refuse beyond loopback.
type Settings struct {
	Cert      string   `yaml:"tls_cert" doc:"certificate chain file (PEM), read again when it changes; beyond loopback it or acme_domains is needed"`
	Key       string   `yaml:"tls_key" doc:"its private key file (PEM), which others must not be able to read"`
	Domains   []string `yaml:"acme_domains" doc:"names to get certificates for from an ACME authority, in place of files; port 443 of each must lead here, and its terms count as accepted"`
	Cache     string   `yaml:"acme_cache" doc:"folder for the ACME account and its certificates, made with mode 0700"`
	Email     string   `yaml:"acme_email" doc:"where the ACME authority may write to about these certificates"`
	Directory string   `yaml:"acme_directory" doc:"URL of the ACME authority's directory; empty: Let's Encrypt"`
}

// acmeTime bounds one request to the ACME authority.
const acmeTime = 30 * time.Second

// Config gives the configuration to listen with, nil where nothing is set. It
// reads the files and does not touch the network. Errors are
// [*daemon.SettingError].
func (s Settings) Config(logger *slog.Logger) (*tls.Config, error) {
	switch {
	case len(s.Domains) > 0 && (s.Cert != "" || s.Key != ""):
		return nil, refuse("acme_domains", errors.New("certificates come from files or from ACME; set tls_cert and tls_key, or this"))
	case len(s.Domains) > 0:
		return s.acme()
	case s.Cache != "" || s.Email != "" || s.Directory != "":
		return nil, refuse("acme_domains", errors.New("ACME is configured for no name; list the names that lead here"))
	case s.Cert == "" && s.Key == "":
		return nil, nil
	case s.Cert == "":
		return nil, refuse("tls_cert", errors.New("tls_key is set and this is not"))
	case s.Key == "":
		return nil, refuse("tls_key", errors.New("tls_cert is set and this is not"))
	}
	f := &files{cert: s.Cert, key: s.Key, logger: logger, every: lookEvery}
	if err := f.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: f.get}, nil
}

func refuse(key string, err error) error { return &daemon.SettingError{Key: key, Err: err} }

func (s Settings) acme() (*tls.Config, error) {
	for _, name := range s.Domains {
		_, err := netip.ParseAddr(name)
		if err == nil || !strings.Contains(strings.Trim(name, "."), ".") || strings.ContainsAny(name, "*:/ ") {
			return nil, refuse("acme_domains", fmt.Errorf("%q is no full host name; write one such as tucdesk.example.com", name))
		}
	}
	if s.Cache == "" {
		return nil, refuse("acme_cache", errors.New("it is needed with acme_domains: authorities give few certificates a week, so they must outlast a restart"))
	}
	if err := checkDirectory(s.Directory); err != nil {
		return nil, refuse("acme_directory", err)
	}
	m := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(s.Cache),
		HostPolicy: autocert.HostWhitelist(s.Domains...),
		Email:      s.Email,
		Client: &acme.Client{
			DirectoryURL: s.Directory, // empty: autocert's default
			HTTPClient:   &http.Client{Timeout: acmeTime},
			UserAgent:    "tucdesk",
		},
	}
	if s.Directory == "" {
		m.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: m.GetCertificate,
		NextProtos:     []string{acme.ALPNProto}, // the authority's check (RFC 8737); the server adds its own
	}, nil
}

// checkDirectory refuses an authority that anybody on the way could be.
func checkDirectory(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("want an https URL")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("want an https URL; plain http is for loopback only")
}
