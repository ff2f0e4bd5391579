package rendezvous

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// settings is the configuration file of tucdesk-rendezvousd.
type settings struct {
	Listen    string        `yaml:"listen" doc:"TCP address for agents and clients"`
	URL       string        `yaml:"url" doc:"how agents and clients know this server: scheme and host"`
	APIURL    string        `yaml:"api_url" doc:"the API server, which knows the teams"`
	KeyFile   string        `yaml:"key_file" doc:"file with this server's key, mode 0600; an admin signs its public side into the roster"`
	TLSCert   string        `yaml:"tls_cert" doc:"certificate file (PEM); needed beyond loopback"`
	TLSKey    string        `yaml:"tls_key" doc:"its private key file (PEM)"`
	Offline   time.Duration `yaml:"offline_after" doc:"how long an agent may be silent"`
	MaxAgents int           `yaml:"max_agents" doc:"agents that may be online at a time"`
}

// Command describes tucdesk-rendezvousd.
func Command() daemon.Command {
	return daemon.Command{
		Name:  "tucdesk-rendezvousd",
		Doc:   "TucDesk's rendezvous: knows which agents are online and carries offers to them.",
		Admin: "127.0.0.1:9478",
		Config: settings{
			Listen:    "127.0.0.1:8444",
			URL:       "http://127.0.0.1:8444",
			APIURL:    "http://127.0.0.1:8443",
			Offline:   45 * time.Second,
			MaxAgents: 100_000,
		},
		New: func(doc []byte, env daemon.Env) (daemon.Service, error) {
			var s settings
			if err := daemon.Decode(doc, &s); err != nil {
				return nil, err
			}
			return s.service(env)
		},
	}
}

func (s settings) service(env daemon.Env) (daemon.Service, error) {
	if s.KeyFile == "" {
		return nil, errors.New("rendezvous: key_file is not set; make the key with tucdesk-apid keys init")
	}
	id, err := keyfile.LoadIdentity(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("rendezvous: key_file: %w", err)
	}
	source, err := wire.NewSigned(wire.SignedOptions{URL: s.APIURL, Identity: id})
	if err != nil {
		return nil, fmt.Errorf("rendezvous: api_url: %w", err)
	}
	var conf *tls.Config
	if s.TLSCert != "" || s.TLSKey != "" {
		cert, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("rendezvous: tls_cert, tls_key: %w", err)
		}
		conf = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	}
	return New(Config{
		Listen: s.Listen, TLS: conf, URL: s.URL, APIURL: s.APIURL, Rosters: NewCached(source, nil),
		Offline: s.Offline, MaxAgents: s.MaxAgents, Logger: env.Logger, Registry: env.Registry,
	})
}
