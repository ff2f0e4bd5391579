package relay

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"time"

	"github.com/tucdesk/tucdesk/internal/certs"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/relayd/relay/usage"
)

// settings is the configuration file of tucdesk-relayd.
type settings struct {
	Listen         string        `yaml:"listen" doc:"address for clients, over UDP and TCP"`
	ListenTLS      string        `yaml:"listen_tls" doc:"TCP address for clients over TLS, where networks let nothing else out: port 443 if that is free; it needs a certificate"`
	UDPOnly        bool          `yaml:"udp_only" doc:"do not listen over TCP at the address for clients"`
	SecretFile     string        `yaml:"secret_file" doc:"file with the secret shared with apid, mode 0600; while it is rotated, files of the same name with .next and .old beside it"`
	MaxAllocations int           `yaml:"max_allocations" doc:"allocations of all sessions together; a session takes two"`
	MaxLifetime    time.Duration `yaml:"max_lifetime" doc:"refuse credentials that are good for longer"`
	APIURL         string        `yaml:"api_url" doc:"tucdesk-apid, to be told how many bytes each session has used; empty: it is not told, and they are only logged"`
	APIPins        []string      `yaml:"api_pins" doc:"SHA-256 (64 hexadecimal digits) of its public TLS keys, where its certificate is of a site's own authority"`
	MaxRate        int64         `yaml:"max_rate" doc:"bytes that one side of a session may send each second; more is dropped"`

	certs.Settings `yaml:",inline"`
}

// Command describes tucdesk-relayd.
func Command() daemon.Command {
	return daemon.Command{
		Name:  "tucdesk-relayd",
		Doc:   "TucDesk's relay: forwards sealed datagrams between the two sides of a session.",
		Admin: "127.0.0.1:9479",
		Config: settings{
			Listen:         "127.0.0.1:3478",
			MaxAllocations: 4096,
			MaxLifetime:    13 * time.Hour,
			MaxRate:        125_000_000,
		},
		New: func(doc []byte, env daemon.Env) (daemon.Service, error) {
			var s settings
			if err := daemon.Decode(doc, &s); err != nil {
				return nil, err
			}
			if s.SecretFile == "" {
				return nil, refuse("secret_file", errors.New("it is not set; name the file with the secret that apid uses"))
			}
			if s.MaxAllocations <= 0 {
				return nil, refuse("max_allocations", errors.New("it must be more than zero"))
			}
			if s.MaxLifetime <= 0 {
				return nil, refuse("max_lifetime", errors.New("it must be more than zero"))
			}
			if s.MaxRate <= 0 {
				return nil, refuse("max_rate", errors.New("it must be more than zero"))
			}
			conf, err := s.Settings.Config(env.Logger)
			if err != nil {
				return nil, err
			}
			secrets, err := keyfile.LoadRelaySecrets(s.SecretFile)
			if err != nil {
				return nil, refuse("secret_file", err)
			}
			cfg := Config{
				Listen: s.Listen, ListenTLS: s.ListenTLS, TLS: conf, UDPOnly: s.UDPOnly, Secret: secrets[0], Others: secrets[1:],
				MaxAllocations: s.MaxAllocations, MaxLifetime: s.MaxLifetime, MaxRate: s.MaxRate,
				Usage:  logUsage(env.Logger),
				Logger: env.Logger, Registry: env.Registry,
			}
			if s.APIURL != "" {
				if err := cfg.TellAPI(s.APIURL, s.APIPins...); err != nil {
					return nil, refuse("api_url", err)
				}
			}
			return New(cfg)
		},
	}
}

// TellAPI has the apid at a URL told what sessions have used, beside what Usage does.
// Secret, Logger and Registry are set before. pins are of its TLS keys; none: the system's
// authorities.
func (cfg *Config) TellAPI(url string, pins ...string) error {
	book, err := usage.Open(url, pins, cfg.Secret.Vouch, cfg.Logger, cfg.Registry)
	if err != nil {
		return err
	}
	before := cfg.Usage
	cfg.Tell, cfg.Usage = book.Run, func(u Usage) {
		if before != nil {
			before(u)
		}
		book.Add(usage.Use{Session: u.Session, Began: u.Began.UnixMilli(), Ended: u.Ended.UnixMilli(), Operator: u.Operator, Agent: u.Agent})
	}
	return nil
}

// logUsage writes down what sessions have used. Which team a session is of, apid
// knows; the relay does not.
func logUsage(logger *slog.Logger) func(Usage) {
	return func(u Usage) {
		logger.Info("session relayed", "session", hex.EncodeToString(u.Session[:]), "seconds", int64(u.Ended.Sub(u.Began).Seconds()),
			"operator_bytes", u.Operator, "agent_bytes", u.Agent)
	}
}

func refuse(key string, err error) error { return &daemon.SettingError{Key: key, Err: err} }
