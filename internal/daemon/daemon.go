// Package daemon is the frame that every TucDesk program which serves runs in:
// configuration, logging, the admin listener, readiness and a clean stop.
//
// A service is an importable package with a constructor; its program is four
// lines around [Main]. The same service value also runs beside others in one
// process through [Group], so a service takes everything it needs from its
// configuration and its [Env]. It never touches os.Args, the environment, the
// default logger or the default Prometheus registry.
//
// Invariants:
//   - settings apply in one order: defaults, file, environment, flags;
//   - an unknown key, variable or flag is an error, never ignored;
//   - a configuration holds no secret, only paths of files that hold one, so
//     that printing a configuration is always safe;
//   - the admin listener stays on loopback unless insecure_admin says otherwise;
//   - a stop is bounded: what has not ended by then is left behind, and the
//     exit code says so.
//
// The package must not import any service.
package daemon

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// A Service runs until its context is done.
type Service interface {
	// Run serves until ctx is done and then returns nil, with everything it
	// opened closed. It calls ready once, when it can serve. Returning earlier,
	// with or without an error, means that the service failed. Run is called
	// at most once.
	Run(ctx context.Context, ready func()) error
}

// Command describes one program to [Main].
type Command struct {
	// Name is the program's name, such as "tucdesk-relayd". Its environment
	// variables begin with the name in capitals: TUCDESK_RELAYD_.
	Name string
	// Doc says in one line what the program does.
	Doc string
	// Config is the default configuration: a struct value whose yaml tags name
	// the keys and whose doc tags describe them. Fields are strings, bools,
	// integers, durations, lists of strings, or structs of these, which may
	// be inline. Nil means that the program has no settings of its own.
	Config any
	// Admin is the default address of the admin listener. Empty means none.
	Admin string
	// New builds the service from its configuration, read with [Decode]. It
	// checks every setting and opens nothing on the network: --check-config
	// calls it too.
	New func(cfg []byte, env Env) (Service, error)
	// Commands are further subcommands, such as "keys init".
	Commands []*cobra.Command
	// Tasks are subcommands that need the program's configuration.
	Tasks []Task
}

// A Task does something once with the configuration of a program, beside the
// service: it takes the same file, variables and flags.
type Task struct {
	Command *cobra.Command // without RunE
	// Run gets the configuration as [Command.New] does.
	Run func(cmd *cobra.Command, cfg []byte, args []string) error
}

// Env is what a service gets from the process it runs in.
type Env struct {
	// Logger is never nil in an Env from [Main] or [NewEnv].
	Logger *slog.Logger
	// Registry takes the service's metrics. Services in one process may share
	// it, so metric names carry the service's name.
	Registry *prometheus.Registry
}

// NewEnv returns an Env for a service that runs inside another program, with a
// registry of its own. A nil logger discards.
func NewEnv(logger *slog.Logger) Env {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return Env{Logger: logger, Registry: prometheus.NewRegistry()}
}
