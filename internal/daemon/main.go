package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes of [Main].
const (
	exitOK     = 0
	exitFailed = 1 // the service failed, or did not stop in time
	exitUsage  = 2 // wrong flags or configuration; nothing was started
)

// Main runs the program and returns its exit code: 0 after a clean stop, 1
// when the service failed or did not stop in time, 2 for wrong flags or
// configuration. SIGINT and SIGTERM stop the service; a second one ends the
// process at once.
func Main(c Command) int {
	return MainContext(context.Background(), c, os.Args[1:], os.Environ())
}

// MainContext is [Main] for a program inside another: with arguments and an
// environment of the caller's, and an end of ctx that counts as a signal.
func MainContext(ctx context.Context, c Command, args, environ []string) int {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// Back to the default action, so that a second signal kills.
	context.AfterFunc(ctx, cancel)
	return run(ctx, c, args, environ, os.Stdout, os.Stderr)
}

// errUsage marks errors that happened before anything was started.
var errUsage = errors.New("daemon: usage")

func run(ctx context.Context, c Command, args, environ []string, stdout, stderr io.Writer) int {
	root, err := newRoot(c, environ, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", c.Name, err)
		return exitUsage
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err = root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	text := strings.TrimPrefix(err.Error(), errUsage.Error()+"\n")
	fmt.Fprintf(stderr, "%s: %s\n", c.Name, text)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

// newRoot builds the command line. Flags are kept as text and applied last, so
// that they win over file and environment.
func newRoot(c Command, environ []string, stderr io.Writer) (*cobra.Command, error) {
	cfg, err := newConfig(c)
	if err != nil {
		return nil, err
	}
	prefix := strings.ToUpper(strings.ReplaceAll(c.Name, "-", "_")) + "_"
	var check bool
	root := &cobra.Command{
		Use:   c.Name,
		Short: c.Doc,
		Long: c.Doc + "\n\nSettings come from the defaults, then the file of --config, then the environment (" +
			prefix + "KEY), then flags.\nFlags name the keys of the file: log_level is --log-level.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.Flags().BoolVar(&check, "check-config", false, "check the configuration and exit")
	apply := configure(root, cfg, prefix, environ)
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := apply(); err != nil {
			return err
		}
		p, err := prepare(c, cfg, stderr)
		if err != nil {
			return usage(err)
		}
		if check {
			fmt.Fprintln(cmd.OutOrStdout(), "configuration ok")
			return nil
		}
		return p.serve(cmd.Context())
	}
	root.AddCommand(versionCommand(c.Name), manCommand(c, cfg, prefix), configCommand(c, cfg))
	root.AddCommand(c.Commands...)
	for _, t := range c.Tasks {
		root.AddCommand(t.command(cfg, prefix, environ))
	}
	return root, nil
}

// configure gives a command --config and a flag for each setting. apply reads
// file, environment and flags into cfg, in this order.
func configure(cmd *cobra.Command, cfg *config, prefix string, environ []string) (apply func() error) {
	var file string
	cmd.Flags().StringVar(&file, "config", lookup(environ, prefix+"CONFIG"), "configuration file (YAML)")
	var given []flagValue
	for _, f := range cfg.all() {
		v := flagValue{field: f, text: new(string)}
		flag := cmd.Flags().VarPF(v, f.flag(), "", f.doc)
		flag.DefValue = f.text()
		if v.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
		given = append(given, v)
	}
	return func() error {
		if err := load(cfg, file, prefix, environ, cmd.Flags(), given); err != nil {
			return usage(err)
		}
		return nil
	}
}

// command completes the task's command. Its help names the flags of its own and
// --config; the settings are in that of the program.
func (t Task) command(cfg *config, prefix string, environ []string) *cobra.Command {
	apply := configure(t.Command, cfg, prefix, environ)
	for _, f := range cfg.all() {
		t.Command.Flags().Lookup(f.flag()).Hidden = true
	}
	t.Command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	t.Command.RunE = func(cmd *cobra.Command, args []string) error {
		if err := apply(); err != nil {
			return err
		}
		doc, err := cfg.document()
		if err != nil {
			return usage(err)
		}
		return t.Run(cmd, doc, args)
	}
	return t.Command
}

func versionCommand(name string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print which build this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(Version())
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), name, Version())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// flagValue is a flag that only keeps its text.
type flagValue struct {
	field field
	text  *string
}

func (v flagValue) String() string {
	if v.text == nil { // pflag asks a zero value
		return ""
	}
	return *v.text
}
func (v flagValue) Set(text string) error { *v.text = text; return nil }
func (v flagValue) Type() string {
	switch v.field.value.Interface().(type) {
	case bool:
		return "bool"
	case time.Duration:
		return "duration"
	case []string:
		return "list"
	}
	if v.field.value.CanInt() || v.field.value.CanUint() {
		return "int"
	}
	return "string"
}

// load applies file, environment and flags to cfg, in this order.
func load(cfg *config, file, prefix string, environ []string, flags *pflag.FlagSet, given []flagValue) error {
	if file != "" {
		if err := cfg.readFile(file); err != nil {
			return err
		}
	}
	if err := cfg.readEnv(prefix, environ); err != nil {
		return err
	}
	for _, v := range given {
		name := v.field.flag()
		if !flags.Changed(name) {
			continue
		}
		if err := v.field.set(*v.text); err != nil {
			return &ConfigError{Source: "--" + name, Reason: err.Error()}
		}
		cfg.at[v.field.key()] = ConfigError{Source: "--" + name}
	}
	return nil
}

// process is a program that is configured and not yet started.
type process struct {
	settings
	name    string
	env     Env
	service Service
}

func prepare(c Command, cfg *config, stderr io.Writer) (*process, error) {
	logger, err := newLogger(cfg.settings, stderr)
	if err != nil {
		return nil, err
	}
	if cfg.StopTimeout <= 0 {
		return nil, &ConfigError{Source: "stop_timeout", Reason: "must be more than zero"}
	}
	if cfg.AdminListen != "" {
		if err := checkAdmin(cfg.AdminListen, cfg.InsecureAdmin); err != nil {
			return nil, err
		}
	}
	doc, err := cfg.document()
	if err != nil {
		return nil, err
	}
	env := NewEnv(logger)
	env.Registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if c.New == nil {
		return nil, fmt.Errorf("daemon: %s has no service", c.Name)
	}
	service, err := c.New(doc, env)
	if err != nil {
		return nil, cfg.place(err)
	}
	return &process{settings: cfg.settings, name: c.Name, env: env, service: service}, nil
}

// ErrStuck means that a service had not stopped when its time was over.
var ErrStuck = errors.New("daemon: service did not stop in time")

// serve runs the service until ctx is done, plus at most the stop time-out.
func (p *process) serve(ctx context.Context) error {
	logger := p.env.Logger
	var h health
	if p.AdminListen != "" {
		stop, err := serveAdmin(p.AdminListen, h.handler(p.env.Registry), logger)
		if err != nil {
			return err
		}
		defer stop()
	}
	logger.Info("starting", "program", p.name, "version", Version().Version)
	done := make(chan error, 1)
	go func() {
		done <- p.service.Run(ctx, func() {
			h.ready.Store(true)
			logger.Info("ready", "program", p.name)
		})
	}()
	select {
	case err := <-done:
		h.ready.Store(false)
		if err == nil && ctx.Err() == nil {
			err = ErrEnded
		}
		return err
	case <-ctx.Done():
	}
	h.ready.Store(false)
	logger.Info("stopping", "program", p.name, "within", p.StopTimeout.String())
	late := time.NewTimer(p.StopTimeout)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("%w (%v)", ErrStuck, p.StopTimeout)
	}
}

func newLogger(s settings, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return nil, &ConfigError{Source: "log_level", Reason: fmt.Sprintf("%q is not debug, info, warn or error", s.LogLevel)}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch s.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, &ConfigError{Source: "log_format", Reason: fmt.Sprintf("%q is not text or json", s.LogFormat)}
}

// usage marks err as one that stopped the program before it started anything.
func usage(err error) error { return errors.Join(errUsage, err) }

// lookup finds a variable in a list of "NAME=value".
func lookup(environ []string, name string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}
