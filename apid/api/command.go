package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/apid/api/recordings"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3"
	"github.com/tucdesk/tucdesk/internal/store/sqlite"
)

// Names of the files in the folder of keys.
const (
	fileGrant      = "grant.key"
	fileToken      = "token.key"
	fileLog        = "log.key"
	fileRendezvous = "rendezvous.key"
	fileRelay      = "relay.secret"
)

// settings is the configuration file of tucdesk-apid.
type settings struct {
	Listen        string   `yaml:"listen" doc:"TCP address for clients and agents"`
	URL           string   `yaml:"url" doc:"how everybody else knows this server: scheme and host"`
	TLSCert       string   `yaml:"tls_cert" doc:"certificate file (PEM); needed beyond loopback"`
	TLSKey        string   `yaml:"tls_key" doc:"its private key file (PEM)"`
	Database      string   `yaml:"database" doc:"SQLite file; made if it is missing"`
	Recordings    string   `yaml:"recordings" doc:"folder for the sealed segments of recordings; empty: recordings beside the database"`
	S3Endpoint    string   `yaml:"s3_endpoint" doc:"URL of an object store that takes the segments instead (S3, MinIO, R2)"`
	S3Region      string   `yaml:"s3_region" doc:"its region"`
	S3Bucket      string   `yaml:"s3_bucket" doc:"the bucket there; it must exist"`
	S3Prefix      string   `yaml:"s3_prefix" doc:"of all names in the bucket; ends in a slash"`
	S3File        string   `yaml:"s3_credentials_file" doc:"file with one line: key id and secret"`
	KeysDir       string   `yaml:"keys_dir" doc:"folder of the keys that tucdesk-apid keys init makes"`
	RelayFile     string   `yaml:"relay_secret_file" doc:"file with the secret shared with relayd; empty: sessions get no relay"`
	Relays        []string `yaml:"relays" doc:"relays (host:port) that this server gives credentials for"`
	RendezvousURL string   `yaml:"rendezvous_url" doc:"the rendezvous server"`
	RendezvousKey string   `yaml:"rendezvous_key" doc:"its public key (tdp1…), for founders of teams"`
	Founding      string   `yaml:"founding" doc:"who may found a team here: closed, first (one team and no more) or open"`
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
		Commands: []*cobra.Command{keysCommand()},
	}
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
	for name, into := range map[string]*key.Identity{fileGrant: &cfg.GrantKey, fileToken: &cfg.TokenKey, fileLog: &cfg.LogKey} {
		id, err := keyfile.LoadIdentity(filepath.Join(s.KeysDir, name))
		if err != nil {
			return nil, fmt.Errorf("api: keys_dir: %w; make it with tucdesk-apid keys init DIR", err)
		}
		*into = id
	}
	var err error
	if s.RelayFile != "" {
		if cfg.RelaySecret, err = keyfile.LoadRelaySecret(s.RelayFile); err != nil {
			return nil, fmt.Errorf("api: relay_secret_file: %w", err)
		}
	}
	if s.RendezvousKey != "" {
		if cfg.RendezvousKey, err = key.ParsePublicText(s.RendezvousKey); err != nil {
			return nil, fmt.Errorf("api: rendezvous_key: %w", err)
		}
	}
	if s.TLSCert != "" || s.TLSKey != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("api: tls_cert: %w", err)
		}
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if s.Recordings == "" {
		s.Recordings = filepath.Join(filepath.Dir(s.Database), "recordings")
	}
	return &service{cfg: cfg, database: s.Database, storage: recordings.Storage{
		Folder: s.Recordings, Credentials: s.S3File,
		S3: s3.Config{Endpoint: s.S3Endpoint, Region: s.S3Region, Bucket: s.S3Bucket, Prefix: s.S3Prefix},
	}}, nil
}

// service is a Server whose database and storage are opened when it runs.
type service struct {
	cfg      Config
	database string
	storage  recordings.Storage
}

// Run implements daemon.Service.
func (s *service) Run(ctx context.Context, ready func()) (err error) {
	db, err := sqlite.Open(ctx, s.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s.cfg.Store = db
	if s.cfg.Recordings, err = s.storage.Open(); err != nil {
		return err
	}
	server, err := New(s.cfg)
	if err != nil {
		return err
	}
	return server.Run(ctx, ready)
}

// keysCommand is `tucdesk-apid keys init DIR`.
func keysCommand() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "Keys of the servers"}
	keys.AddCommand(&cobra.Command{
		Use:   "init DIR",
		Short: "Make the keys that are missing, one file per purpose, and print the public sides",
		Long: "Makes the keys of apid (grant, token, log), the key of rendezvousd and the secret that\n" +
			"apid and relayd share, each in a file of its own that only its owner reads. Keys that are\n" +
			"there stay as they are. Move the rendezvous key to its host. An admin signs the public\n" +
			"keys into the team's roster; tucdesk login --found does that for a new team.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return initKeys(cmd, args[0]) },
	})
	return keys
}

func initKeys(cmd *cobra.Command, dir string) error {
	for _, k := range []struct{ file, purpose string }{
		{fileGrant, "grant"}, {fileToken, "token"}, {fileLog, "log"}, {fileRendezvous, "rendezvous"},
	} {
		id, err := keyfile.Identity(filepath.Join(dir, k.file), k.purpose)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-10s  %s\n", k.purpose, id.Public())
	}
	if _, err := keyfile.RelaySecret(filepath.Join(dir, fileRelay)); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%-10s  %s\n", "relay", filepath.Join(dir, fileRelay))
	return nil
}
