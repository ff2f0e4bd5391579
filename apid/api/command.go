package api

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/apid/api/database"
	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/apid/api/recordings"
	"github.com/tucdesk/tucdesk/apid/api/webhook"
	"github.com/tucdesk/tucdesk/internal/certs"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// settings is the configuration file of tucdesk-apid.
type settings struct {
	Listen        string   `yaml:"listen" doc:"TCP address for clients and agents"`
	URL           string   `yaml:"url" doc:"how everybody else knows this server: scheme and host"`
	Database      string   `yaml:"database" doc:"where rows are kept: a SQLite file, made if it is missing, or postgres://ROLE@HOST/DATABASE"`
	Recordings    string   `yaml:"recordings" doc:"folder for the sealed segments of recordings; empty: recordings beside the SQLite file"`
	S3Endpoint    string   `yaml:"s3_endpoint" doc:"URL of an object store that takes the segments instead (S3, MinIO, R2)"`
	S3Region      string   `yaml:"s3_region" doc:"its region"`
	S3Bucket      string   `yaml:"s3_bucket" doc:"the bucket there; it must exist"`
	S3Prefix      string   `yaml:"s3_prefix" doc:"of all names in the bucket; ends in a slash"`
	S3File        string   `yaml:"s3_credentials_file" doc:"file with one line: key id and secret"`
	Marks         string   `yaml:"log_marks" doc:"file in which apid remembers, outside the database, how far it has signed each team's log; empty: log.marks beside the SQLite file"`
	KeysDir       string   `yaml:"keys_dir" doc:"folder of the keys that tucdesk-apid keys init makes"`
	RelayFile     string   `yaml:"relay_secret_file" doc:"file with the secret shared with relayd; empty: sessions get no relay"`
	Relays        []string `yaml:"relays" doc:"relays that this server gives credentials for: host:port for UDP and TCP, host:port,tls=443 where it has TLS too"`
	RendezvousURL string   `yaml:"rendezvous_url" doc:"the rendezvous server"`
	RendezvousKey string   `yaml:"rendezvous_key" doc:"its public key (tdp1…), for admins to sign; while it is rotated the next one after a comma"`
	RendezvousPin []string `yaml:"rendezvous_pins" doc:"SHA-256 (64 hexadecimal digits) of the rendezvous server's public TLS keys, where its certificate is of a site's own authority"`
	WebhookURL    string   `yaml:"webhook_url" doc:"address that is told of each request that waits for approval (who, where, how risky; never the command); Slack and compatible ones show it; empty: none"`
	WebhookFile   string   `yaml:"webhook_secret_file" doc:"file with the secret under which messages to it are signed, at least 16 bytes"`
	Founding      string   `yaml:"founding" doc:"who may found a team here: closed, first (one team and no more) or open"`

	certs.Settings `yaml:",inline"`
}

// Command describes tucdesk-apid.
func Command() daemon.Command {
	return daemon.Command{
		Name:  "tucdesk-apid",
		Doc:   "TucDesk's API: sign-in, grants, approvals, roster and audit log.",
		Admin: "127.0.0.1:9477",
		Config: settings{
			Listen:        "127.0.0.1:8443",
			URL:           "http://127.0.0.1:8443",
			RendezvousURL: "http://127.0.0.1:8444",
			Founding:      string(FoundingClosed),
		},
		New: func(doc []byte, env daemon.Env) (daemon.Service, error) {
			var s settings
			if err := daemon.Decode(doc, &s); err != nil {
				return nil, err
			}
			return s.service(env)
		},
		Commands: []*cobra.Command{keys.Command()},
		Tasks:    database.Tasks(databaseOf),
	}
}

// databaseOf reads one setting, for those who need no other.
func databaseOf(doc []byte) (string, error) {
	var s settings
	if err := daemon.Decode(doc, &s); err != nil {
		return "", err
	}
	if s.Database == "" {
		return "", refuse("database", errors.New("it is not set; name it with --config or --database"))
	}
	return s.Database, nil
}

// service loads keys and checks the configuration. The database is opened by
// Run.
func (s settings) service(env daemon.Env) (daemon.Service, error) {
	cfg := Config{
		URL: s.URL, Listen: s.Listen, RelayAddrs: s.Relays, RendezvousURL: s.RendezvousURL,
		Founding: Founding(s.Founding), Logger: env.Logger, Registry: env.Registry,
	}
	if s.Database == "" || s.KeysDir == "" {
		return nil, errors.New("api: database and keys_dir are needed; make the keys with tucdesk-apid keys init DIR")
	}
	for _, r := range s.Relays {
		if _, err := carrier.Parse(r); err != nil {
			return nil, refuse("relays", err)
		}
	}
	var err error
	if cfg.Keys, err = keys.Open(s.KeysDir); err != nil {
		return nil, refuse("keys_dir", err)
	}
	if s.RelayFile != "" {
		if cfg.RelaySecret, err = keyfile.LoadRelaySecret(s.RelayFile); err != nil {
			return nil, refuse("relay_secret_file", err)
		}
	}
	if cfg.Keys.Rendezvous, err = keys.ParsePublics(s.RendezvousKey); err != nil {
		return nil, refuse("rendezvous_key", err)
	}
	if cfg.RendezvousPins, err = wire.ParsePins(s.RendezvousPin); err != nil {
		return nil, refuse("rendezvous_pins", err)
	}
	if cfg.TLS, err = s.Settings.Config(env.Logger); err != nil {
		return nil, err
	}
	if cfg.Webhook, err = webhook.Open(s.WebhookURL, s.WebhookFile, env.Logger); err != nil {
		return nil, refuse("webhook_url", err)
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if engine.IsServer(s.Database) {
		switch {
		case s.Recordings == "" && s.S3Endpoint == "":
			return nil, refuse("recordings", errors.New("with a database server, name a folder for them, or an object store"))
		case s.Marks == "":
			return nil, refuse("log_marks", errors.New("with a database server, name a file that apid may write"))
		}
	} else {
		beside := filepath.Dir(s.Database)
		s.Recordings = cmp.Or(s.Recordings, filepath.Join(beside, "recordings"))
		s.Marks = cmp.Or(s.Marks, filepath.Join(beside, "log.marks"))
	}
	return &service{cfg: cfg, database: s.Database, marks: s.Marks, storage: recordings.Storage{
		Folder: s.Recordings, Credentials: s.S3File,
		S3: s3.Config{Endpoint: s.S3Endpoint, Region: s.S3Region, Bucket: s.S3Bucket, Prefix: s.S3Prefix},
	}}, nil
}

func refuse(key string, err error) error { return &daemon.SettingError{Key: key, Err: err} }

// service is a Server whose database and storage are opened when it runs.
type service struct {
	cfg      Config
	database string
	marks    string
	storage  recordings.Storage
}

// Run implements daemon.Service.
func (s *service) Run(ctx context.Context, ready func()) (err error) {
	db, err := engine.Open(ctx, s.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s.cfg.Store = db
	if s.cfg.Marks, err = marks.Open(s.marks); err != nil {
		return err
	}
	if s.cfg.Recordings, err = s.storage.Open(); err != nil {
		return err
	}
	server, err := New(s.cfg)
	if err != nil {
		return err
	}
	return server.Run(ctx, ready)
}
