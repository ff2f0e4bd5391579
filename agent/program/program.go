// Package program is tucdesk-agent: its settings, and the commands by which it is its own
// other halves. What it does is package host.
//
// It must not import another service.
package program

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/agent/host"
	"github.com/tucdesk/tucdesk/agent/host/errand"
	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/agent/newcomer"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Settings are the keys of the agent's configuration file.
type Settings struct {
	Dir           string        `yaml:"dir" doc:"folder of keys, roster and ledger"`
	Name          string        `yaml:"name" doc:"name for logs and metrics; the roster's name counts"`
	TeamID        string        `yaml:"team_id" doc:"the team's routing name"`
	TeamFP        string        `yaml:"team_fp" doc:"the team's fingerprint, 64 hexadecimal digits; what the agent trusts; after pairing or enrolment it is known"`
	APIURL        string        `yaml:"api_url" doc:"address of tucdesk-apid"`
	RendezvousURL string        `yaml:"rendezvous_url" doc:"address of tucdesk-rendezvousd"`
	Pins          []string      `yaml:"pins" doc:"SHA-256 (64 hexadecimal digits) of the servers' public TLS keys, where their certificates are of a site's own authority; empty: those that came with pairing or enrolment"`
	Demo          bool          `yaml:"demo" doc:"be part of a demo on this machine"`
	MaxStale      time.Duration `yaml:"max_stale" doc:"no new session on a roster that was not confirmed for so long"`
	Poll          time.Duration `yaml:"poll" doc:"mean time between two questions for the roster"`
	MaxSessions   int           `yaml:"max_sessions" doc:"sessions that run at a time"`
	NetworkUser   string        `yaml:"network_user" doc:"whom the network half runs as when the agent is started as root; a user with no rights, and better one that nothing else runs as"`
	UploadHosts   []string      `yaml:"upload_hosts" doc:"object stores that apid may have recordings uploaded to, as in their URLs: host or host:port; empty: none, recordings go to apid itself"`
	MaxSpool      int64         `yaml:"max_spool" doc:"bytes of sealed recordings that wait on disk for their upload; when they are full, what must be recorded does not run"`
}

const defaultDir = "/var/lib/tucdesk-agent"

// defaultNetworkUser is on every system.
const defaultNetworkUser = "nobody"

// Command describes tucdesk-agent. at are the arguments at which this program has
// the command, if it is a part of another.
func Command(at ...string) daemon.Command {
	return daemon.Command{
		Name: "tucdesk-agent",
		Doc:  "lets a team's operators reach this machine, under rules that it checks itself",
		Config: Settings{
			Dir: defaultDir, MaxStale: 24 * time.Hour, Poll: 30 * time.Second, MaxSessions: 256, MaxSpool: host.DefaultSpool,
			NetworkUser: defaultNetworkUser,
		},
		Admin: "127.0.0.1:9465",
		New: func(cfg []byte, env daemon.Env) (daemon.Service, error) {
			return newService(cfg, env, at)
		},
		Commands: append(newcomer.Commands(defaultDir), keysCommand(), clockCommand(), networkCommand(), sessionCommand(), shimCommand(), errandCommand()),
	}
}

func newService(cfg []byte, env daemon.Env, at []string) (daemon.Service, error) {
	var s Settings
	if err := daemon.Decode(cfg, &s); err != nil {
		return nil, err
	}
	var fp envelope.Hash
	if s.TeamFP != "" {
		var err error
		if fp, err = envelope.ParseHash(s.TeamFP); err != nil {
			return nil, &daemon.SettingError{Key: "team_fp", Err: err}
		}
	}
	card, err := newcomer.Team(s.Dir)
	switch {
	case errors.Is(err, newcomer.ErrNoTeam):
	case err != nil:
		return nil, err
	case !fp.IsZero() && fp != card.TeamFP:
		return nil, fmt.Errorf("agent: team_fp names another team than the one that this agent has joined (%s)", card.TeamFP)
	default:
		// The team is what the agent has joined; where its servers are now, the
		// configuration may say better.
		fp, s.TeamID = card.TeamFP, card.TeamID
		s.APIURL, s.RendezvousURL = cmp.Or(s.APIURL, card.API), cmp.Or(s.RendezvousURL, card.Rendezvous)
	}
	pins, err := wire.ParsePins(s.Pins)
	if err != nil {
		return nil, &daemon.SettingError{Key: "pins", Err: err}
	}
	if len(pins) == 0 {
		pins = card.Pins
	}
	for _, h := range s.UploadHosts {
		if u, err := url.Parse("https://" + h + "/"); err != nil || u.Host != h || u.Hostname() == "" {
			return nil, &daemon.SettingError{Key: "upload_hosts", Err: fmt.Errorf("%q is neither a host nor a host:port; write it as it stands in the store's URLs, without https:// and path", h)}
		}
	}
	return host.New(host.Config{
		Dir: s.Dir, Name: s.Name, TeamID: s.TeamID, TeamFP: fp, APIURL: s.APIURL, RendezvousURL: s.RendezvousURL,
		Pins: pins, Floor: card.Head, Demo: s.Demo, MaxStale: s.MaxStale, Poll: s.Poll, MaxSessions: s.MaxSessions, MaxSpool: s.MaxSpool, UploadHosts: s.UploadHosts,
		Apart: true, Args: at, Gate: ShimArgs(at...), Errand: ErrandArgs(at...), NetworkUser: cmp.Or(s.NetworkUser, defaultNetworkUser), Logger: env.Logger, Registry: env.Registry,
	})
}

// networkCommand is the network half. It takes no heed of signals: it ends with the
// agent.
func networkCommand() *cobra.Command {
	return part(host.NetworkHalf, "Be the network half of an agent, which starts it", host.NetworkMain)
}

// sessionCommand is a session half. It outlives the agent that starts it.
func sessionCommand() *cobra.Command {
	return part(host.SessionHalf, "Be a session half of an agent, which starts it", host.SessionMain)
}

// part is a process of an agent's own, which nobody else starts.
func part(name, short string, main func() error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs, Hidden: true,
		RunE: func(*cobra.Command, []string) error { return main() },
	}
}

// ShimArgs are the arguments that lead this program to the exec gate's shim. at are
// those at which it has Command, if that is a part of it.
func ShimArgs(at ...string) []string { return append(slices.Clone(at), shimName) }

const shimName = "gated"

// shimCommand is the exec gate's shim, which becomes a session's shell.
func shimCommand() *cobra.Command {
	return part(shimName, "Start a session's first program under the exec gate, for an agent", shim.Main)
}

// ErrandArgs are the arguments that lead this program to the process of a copy, forward
// or proxy. at are those at which it has Command, if that is a part of it.
func ErrandArgs(at ...string) []string { return append(slices.Clone(at), errandName) }

const errandName = "errand"

// errandCommand is the process of a copy, a forward or a proxy, which runs as its account.
func errandCommand() *cobra.Command {
	return &cobra.Command{
		Use:                errandName,
		Short:              "Copy or forward for an operator, for an agent, which starts it",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return errand.Main(args) },
	}
}

func keysCommand() *cobra.Command {
	dir := defaultDir
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Print this agent's public keys, for an admin to sign into the roster; make them on the first call",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			public, recipient, err := host.Keys(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "kid        %s\npublic     %s\nrecipient  %s\n", public.Kid(), public, recipient)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "folder of the agent's keys")
	return cmd
}

func clockCommand() *cobra.Command {
	dir, reset := defaultDir, false
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Print up to which time this agent has seen its machine's clock come, or reset that",
		Long: "An agent does nothing by a clock that has gone back by more than a minute: what had\n" +
			"expired would be good again. If the clock was ahead once and is right now, stop the\n" +
			"agent and run this with --reset. What was used stays used.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder := filepath.Join(dir, "ledger")
			if reset {
				return ledger.ResetClock(folder)
			}
			at, err := ledger.Latest(folder)
			if err != nil {
				return err
			}
			said := "nothing yet"
			if !at.IsZero() {
				said = at.UTC().Format(time.RFC3339)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "folder of the agent")
	cmd.Flags().BoolVar(&reset, "reset", false, "take the machine's clock as it is now")
	return cmd
}
