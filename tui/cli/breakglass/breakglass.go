// Package breakglass is the part of the command line for when apid is gone: make a plea,
// read and sign one, and run what a quorum has signed.
//
// Invariants: no server is asked before `run`; what is signed is shown whole, and typed
// for; what is opened so is said loudly, on every line that speaks of it.
//
// It must not import a service.
package breakglass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/backend/control/breakglass"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/approvals"
)

// openIn bounds the opening of a session.
const openIn = 30 * time.Second

// A CLI makes commands with what it has. All fields are required.
type CLI struct {
	In       io.Reader
	Out, Err io.Writer
	Open     func() (*control.Backend, error)                                   // the team of this home
	Person   func() bool                                                        // somebody reads and types at a terminal
	Read     func(name string, max int64) ([]byte, error)                       // a file
	Target   cobra.CompletionFunc                                               // names of machines
	Show     func(context.Context, backend.Terminal, backend.OpenRequest) error // until the program ends
}

// Command gives the command with all that is below it.
func (c *CLI) Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "breakglass", Short: "Open a session when apid is gone, on the word of a quorum", Args: cobra.NoArgs,
		Long: "When apid can't be reached, nobody gives grants. Where the policy has break_glass, a quorum of its\n" +
			"members stands in for the grant. All of it goes by files, over whatever way is left (chat, mail, a stick);\n" +
			"they are sealed to those who may read them.\n\n" +
			"  1. Who needs the session makes a plea:      tucdesk breakglass ask web-1 --reason '…' -o plea -- CMD\n" +
			"  2. Each of the quorum reads and signs it:   tucdesk breakglass sign plea -o warrant-bob\n" +
			"  3. Who asked runs it:                       tucdesk breakglass run plea warrant-bob warrant-carol\n\n" +
			"The machine checks every signature itself, against its own roster and policy. It is recorded, works once,\n" +
			"ends when break_glass.expires is over, and is in the audit log as soon as apid is back.",
	}
	cmd.AddCommand(c.ask(), c.show(), c.sign(), c.run())
	return cmd
}

func (c *CLI) ask() *cobra.Command {
	var (
		req   backend.OpenRequest
		out   string
		shell bool
	)
	cmd := &cobra.Command{
		Use: "ask TARGET --reason WHY -o FILE [-- COMMAND…]", Short: "Make a plea, for a command or with --shell for a login shell",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Target, req.Kind, req.Argv = backend.TargetID(args[0]), backend.KindExec, args[1:]
			switch {
			case shell == (len(req.Argv) > 0):
				return errors.New("name a command after --, or give --shell for a login shell")
			case strings.TrimSpace(req.Reason) == "":
				return errors.New("a plea needs --reason: whoever signs must know what for")
			case shell:
				req.Kind, req.Argv, req.TTY, req.Term = backend.KindShell, nil, true, os.Getenv("TERM")
			default:
				req.Stdin = "none"
			}
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			made, file, err := breakglass.New(b.Home(), req, time.Now())
			if err != nil {
				return err
			}
			if err := c.write(out, file); err != nil {
				return err
			}
			v := made.Verdict
			fmt.Fprintf(c.Err, "tucdesk: BREAK-GLASS plea made: %s\ntucdesk: hand the file to %s; %s of them sign it with `tucdesk breakglass sign`\n",
				sanitize.Clean(v.Reason), sanitize.Clean(strings.Join(made.Show().Approvers, ", ")), fmt.Sprint(v.Obligations.Quorum))
			return nil
		},
		ValidArgsFunction: c.Target,
	}
	cmd.Flags().StringVar(&req.As, "as", "", "user on the target (default: the target's login user)")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for those who sign and for the audit log")
	cmd.Flags().BoolVar(&shell, "shell", false, "a login shell instead of a command")
	output(cmd, &out)
	return cmd
}

func output(cmd *cobra.Command, out *string) {
	cmd.Flags().StringVarP(out, "output", "o", "", "the file to write, which must not exist; - is standard output")
	cmd.MarkFlagRequired("output")
}

// write makes a new file that only its owner reads.
func (c *CLI) write(name string, b []byte) error {
	if name == "-" {
		_, err := c.Out.Write(b)
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// plea opens one, with the backend of whom it is for.
func (c *CLI) plea(name string) (*control.Backend, *breakglass.Case, error) {
	b, err := c.Open()
	if err != nil {
		return nil, nil, err
	}
	file, err := c.Read(name, breakglass.MaxFile)
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	p, err := breakglass.Open(b.Home(), file, time.Now())
	if err != nil {
		b.Close()
		return nil, nil, fmt.Errorf("%s: %w", sanitize.Clean(name), err)
	}
	return b, p, nil
}

func (c *CLI) show() *cobra.Command {
	return &cobra.Command{
		Use: "show FILE", Short: "Show a plea whole", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, p, err := c.plea(args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			c.print(p)
			return nil
		},
	}
}

func (c *CLI) print(p *breakglass.Case) {
	fmt.Fprintln(c.Out, "BREAK-GLASS: a session without apid's grant")
	approvals.Print(c.Out, p.Show())
}

func (c *CLI) sign() *cobra.Command {
	var (
		out string
		yes bool
	)
	cmd := &cobra.Command{
		Use: "sign FILE -o FILE", Short: "Sign a plea: exactly what is shown, for one use", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, p, err := c.plea(args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			if out != "-" {
				c.print(p)
			}
			if p.Why == "" && !yes {
				if !c.Person() || out == "-" {
					return errors.New("signing needs a terminal to read the plea in, or --yes")
				}
				fmt.Fprintf(c.Err, "sign this? type the target's name (%s): ", sanitize.Clean(p.Agent.Name))
				var answer string
				if _, err := fmt.Fscanln(c.In, &answer); err != nil || answer != p.Agent.Name {
					return errors.New("not signed: the target's name was not typed")
				}
			}
			w, err := p.Warrant()
			if err != nil {
				return err
			}
			if err := c.write(out, w); err != nil {
				return err
			}
			fmt.Fprintf(c.Err, "tucdesk: BREAK-GLASS warrant signed: hand it to %s\n", sanitize.Clean(p.Operator.Email))
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "sign without typing the target's name")
	output(cmd, &out)
	return cmd
}

func (c *CLI) run() *cobra.Command {
	return &cobra.Command{
		Use: "run PLEA WARRANT…", Short: "Run what a quorum has signed", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, p, err := c.plea(args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			files := make([][]byte, len(args)-1)
			for i, name := range args[1:] {
				if files[i], err = c.Read(name, breakglass.MaxFile); err != nil {
					return err
				}
			}
			warrants, who, err := p.Gather(files...)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Err, "tucdesk: BREAK-GLASS session on %s, signed by %s; it is recorded\n", sanitize.Clean(p.Agent.Name), sanitize.Clean(strings.Join(who, ", ")))
			req := backend.OpenRequest{
				Target: backend.TargetID(p.Agent.Name), Kind: backend.Kind(p.Plea.Kind), Argv: p.Plea.Command.Argv, As: p.Plea.As,
				Stdin: p.Plea.Command.Stdin, TTY: p.Plea.Kind == string(backend.KindShell), Cols: 80, Rows: 24,
			}
			for _, kv := range p.Plea.Command.Env {
				if kv[0] == "TERM" {
					req.Term = kv[1]
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), openIn)
			defer cancel()
			t, err := b.OpenWarranted(ctx, p.Plea, p.Verdict, warrants, req)
			if err != nil {
				return err
			}
			return c.Show(cmd.Context(), t, req)
		},
	}
}
