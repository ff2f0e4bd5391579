package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/muesli/cancelreader"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/tui/cli/desk"
	"github.com/tucdesk/tucdesk/tui/console"
	"github.com/tucdesk/tucdesk/tui/plain"
	"github.com/tucdesk/tucdesk/tui/settings"
	"github.com/tucdesk/tucdesk/tui/up"
)

func (a *app) demoCommand() *cobra.Command {
	var (
		headless, processes bool
		dir, policy         string
		database            string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start everything on this machine and open the console as alice",
		Long: "Start the servers, four agents and a small team on this machine, on loopback only, and open the console\n" +
			"as alice, an SRE. Whoever approves is bob, in a second terminal: the console's first screen says how.\n" +
			"With --headless it opens no console, writes DIR/ready.json when everything serves, and stays.\n" +
			"With --processes each part is a process of its own, started again when it ends; their logs are in DIR/logs.\n" +
			"The agents run commands as you. Where you are root, rules of --policy must say so: as: [root].",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				cache, err := os.UserCacheDir()
				if err != nil {
					return fmt.Errorf("give --dir: %w", err)
				}
				dir = filepath.Join(cache, "tucdesk-demo")
			}
			d := &up.Demo{Dir: dir, Database: database, Processes: processes, Shim: up.Shim(), Errand: up.Errand(), Progress: func(s string) { fmt.Fprintf(a.stderr, "tucdesk demo: %s\n", s) }}
			if policy != "" {
				doc, err := readFile(policy, roster.MaxPolicy)
				if err != nil {
					return err
				}
				d.Policy = doc
			}
			if headless {
				d.Furnish = func(home string) error { return settings.Shelf{Home: home}.SkipTour() }
				d.Logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
				return d.Run(cmd.Context(), func(r up.Ready) {
					fmt.Fprintf(a.stderr, "tucdesk demo: ready, see %s\n", filepath.Join(r.Homes["alice"], "..", "ready.json"))
					fmt.Fprintf(a.stderr, "  try: TUCDESK_HOME=%s tucdesk exec %s -- uname -a\n", r.Homes["alice"], r.Try.Target)
				})
			}
			return a.demoConsole(cmd.Context(), d)
		},
	}
	cmd.Flags().BoolVar(&headless, "headless", false, "open no console; stay in the foreground")
	cmd.Flags().BoolVar(&processes, "processes", false, "run each server and each agent as a process of its own")
	cmd.Flags().StringVar(&dir, "dir", "", "where the demo keeps its state (default: tucdesk-demo in the user's cache folder)")
	cmd.Flags().StringVar(&policy, "policy", "", "start with this policy instead of the demo's own")
	cmd.Flags().StringVar(&database, "database", os.Getenv("TUCDESK_DEMO_DATABASE"), "keep rows in this PostgreSQL database, postgres://…, which tucdesk-apid migrate has made ready")
	return cmd
}

// upCommand is `tucdesk up`.
func (a *app) upCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the three servers for a team on this machine, on loopback only",
		Long: "Run apid, rendezvousd and relayd in one process, on loopback. They hold no member's and no admin's key:\n" +
			"a team is founded from a device, with `tucdesk login --found`. For servers that others reach, install the\n" +
			"three programs with TLS.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				config, err := os.UserConfigDir()
				if err != nil {
					return fmt.Errorf("give --dir: %w", err)
				}
				dir = filepath.Join(config, "tucdesk-servers")
			}
			u := &up.Up{Dir: dir, Logger: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
			return u.Run(cmd.Context(), func(s up.Serving) {
				fmt.Fprintf(a.stdout, "serving\n  api         %s\n  rendezvous  %s\n  relay       %s\nkeys\n", s.API, s.Rendezvous, s.Relay)
				for _, k := range s.Keys {
					fmt.Fprintf(a.stdout, "  %-11s %s\n", k.Purpose, k.Key)
				}
				fmt.Fprintf(a.stdout, "found a team, once, from a device: tucdesk login --found %s --team-id NAME --email YOU\n", s.API)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "where the servers keep keys and data (default: tucdesk-servers in the user's configuration folder)")
	return cmd
}

// partCommand is how a demo starts each of its processes. It is not for people.
func (a *app) partCommand() *cobra.Command {
	return &cobra.Command{
		Use: "part NAME", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which part? this command is for `tucdesk demo --processes`")
			}
			if code := up.Part(args[0], args[1:]); code != 0 {
				return &exitError{code}
			}
			return nil
		},
	}
}

// demoConsole runs the demo behind a console; whichever ends first ends both.
func (a *app) demoConsole(ctx context.Context, d *up.Demo) error {
	if !a.isTerminal() {
		return errors.New("the demo's console needs a terminal; use `tucdesk demo --headless --dir DIR` in scripts")
	}
	logFile, err := openLog(d.Dir)
	if err != nil {
		return err
	}
	defer logFile.Close()
	d.Logger = slog.New(slog.NewTextHandler(logFile, nil))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan up.Ready, 1)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, func(r up.Ready) { ready <- r }) }()
	var r up.Ready
	select {
	case r = <-ready:
	case err := <-ended:
		return err
	}
	home, err := profile.Open(r.Homes["alice"])
	if err == nil {
		var b *control.Backend
		if b, err = control.New(home, d.Logger); err == nil {
			err = desk.Desk{Home: home.Dir}.Run(ctx, b, console.Options{
				Who: "alice (demo)",
				Notice: "This is a demo on your own machine; you are alice. Be bob, who approves, in a second terminal:\n" +
					"  TUCDESK_HOME=" + r.Homes["bob"] + " " + self(),
			})
			err = errors.Join(err, b.Close())
		}
	}
	cancel()
	select {
	case derr := <-ended:
		err = errors.Join(err, derr)
	case <-time.After(15 * time.Second):
		err = errors.Join(err, errors.New("the demo did not stop in time"))
	}
	return err
}

// self gives the words that start this program again.
func self() string {
	exe, err := os.Executable()
	if err != nil {
		return "tucdesk"
	}
	return exe
}

func openLog(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "demo.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
}

// runConsole opens the console, or its plain mode: on the team of this home, or on
// the backend that url names.
func (a *app) runConsole(ctx context.Context, url, way string, lines bool) error {
	show := func(b backend.Backend, who string) error {
		if lines || a.isTerminal() && os.Getenv("TERM") == "dumb" {
			o := a.plainOptions(who)
			o.Many = desk.Several(b)
			return plain.Run(ctx, b, o)
		}
		return desk.Desk{}.Run(ctx, b, console.Options{Who: who})
	}
	if url == "" {
		b, err := a.controlBy(way)
		if err != nil {
			return err
		}
		defer b.Close()
		who := "tucdesk"
		if d, ok := b.Home().Roster().EverDevice(b.Home().Identity.Kid()); ok {
			who = d.Email
		}
		return show(b, who)
	}
	b, name, err := a.backends().Open(ctx, url, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	return show(b, name)
}

// plainOptions says what plain mode runs on. Where it has a terminal, that can be
// given to a login shell, and comes back.
func (a *app) plainOptions(who string) plain.Options {
	o := plain.Options{In: a.stdin, Out: a.stdout, Who: who}
	if !a.isTerminal() {
		in, ok := a.stdin.(*os.File)
		o.Echo = !ok || !term.IsTerminal(int(in.Fd()))
		return o
	}
	if cols, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		o.Cols, o.Rows, o.Term = uint16(cols), uint16(rows), os.Getenv("TERM")
	}
	o.Attach = func(t backend.Terminal) (backend.Exit, error) {
		// What is typed after the shell's end is not the shell's any more.
		in, err := cancelreader.NewReader(os.Stdin)
		if err != nil {
			return backend.Exit{}, err
		}
		defer in.Close()
		lent := *a
		lent.stdin = in
		defer in.Cancel()
		return lent.carry(t, true, false)
	}
	return o
}
