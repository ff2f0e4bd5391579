package relay

import (
	"errors"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/keyfile"
)

// settings is the configuration file of tucdesk-relayd.
type settings struct {
	Listen         string        `yaml:"listen" doc:"UDP address for clients"`
	SecretFile     string        `yaml:"secret_file" doc:"file with the secret shared with apid, mode 0600"`
	MaxAllocations int           `yaml:"max_allocations" doc:"allocations of all sessions together; a session takes two"`
	MaxLifetime    time.Duration `yaml:"max_lifetime" doc:"refuse credentials that are good for longer"`
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
			secret, err := keyfile.LoadRelaySecret(s.SecretFile)
			if err != nil {
				return nil, refuse("secret_file", err)
			}
			return New(Config{
				Listen: s.Listen, Secret: secret,
				MaxAllocations: s.MaxAllocations, MaxLifetime: s.MaxLifetime,
				Logger: env.Logger, Registry: env.Registry,
			})
		},
	}
}

func refuse(key string, err error) error { return &daemon.SettingError{Key: key, Err: err} }
