package rendezvous

import (
	"errors"
	"time"

	"github.com/tucdesk/tucdesk/internal/certs"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// settings is the configuration file of tucdesk-rendezvousd.
type settings struct {
	Listen    string        `yaml:"listen" doc:"TCP address for agents and clients"`
	URL       string        `yaml:"url" doc:"how agents and clients know this server: scheme and host"`
	APIURL    string        `yaml:"api_url" doc:"the API server, which knows the teams"`
	APIPins   []string      `yaml:"api_pins" doc:"SHA-256 (64 hexadecimal digits) of the API server's public TLS keys, where its certificate is of a site's own authority"`
	KeyFile   string        `yaml:"key_file" doc:"file with this server's key, mode 0600; an admin signs its public side into the roster"`
	RelayFile string        `yaml:"relay_secret_file" doc:"file with the secret shared with relayd; empty: break-glass, when the API server is gone, gets no relay"`
	Offline   time.Duration `yaml:"offline_after" doc:"how long an agent may be silent"`
	MaxAgents int           `yaml:"max_agents" doc:"agents that may be online at a time"`

	certs.Settings `yaml:",inline"`
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
		return nil, refuse("key_file", errors.New("it is not set; make the key with tucdesk-apid keys init"))
	}
	id, err := keyfile.LoadIdentity(s.KeyFile)
	if err != nil {
		return nil, refuse("key_file", err)
	}
	var relay cred.Secret
	if s.RelayFile != "" {
		if relay, err = keyfile.LoadRelaySecret(s.RelayFile); err != nil {
			return nil, refuse("relay_secret_file", err)
		}
	}
	pins, err := wire.ParsePins(s.APIPins)
	if err != nil {
		return nil, refuse("api_pins", err)
	}
	source, err := wire.NewSigned(wire.SignedOptions{URL: s.APIURL, Identity: id, HTTP: wire.Pinned(pins)})
	if err != nil {
		return nil, refuse("api_url", err)
	}
	conf, err := s.Settings.Config(env.Logger)
	if err != nil {
		return nil, err
	}
	return New(Config{
		Listen: s.Listen, TLS: conf, URL: s.URL, APIURL: s.APIURL, Rosters: NewCached(source, nil),
		RelaySecret: relay, Offline: s.Offline, MaxAgents: s.MaxAgents, Logger: env.Logger, Registry: env.Registry,
	})
}

func refuse(key string, err error) error { return &daemon.SettingError{Key: key, Err: err} }
