package errands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/tunnel"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

const (
	// maxConns bounds the connections of one forward at a time: an agent serves 16
	// channels of a session, and some are its own.
	maxConns = 12
	// againIn bounds the opening of one more channel.
	againIn = 30 * time.Second
)

// ungated is what everybody is told of what goes through.
var ungated = backend.KindProxy.Ungated()

func (c *CLI) forwardCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "forward [ADDRESS:]PORT:HOST:PORT TARGET",
		Short: "Open a port here that leads to HOST:PORT as a machine sees it",
		Long: "Listen on a port of this device, and have the machine connect to HOST:PORT for each connection to it. It listens\n" +
			"on loopback unless another ADDRESS is given; port 0 is a free one. It runs until Ctrl-C, or until the session\n" +
			"ends, and has at most 12 connections at a time.\n\n" +
			"The machine reaches what policy names in `forwards`, and nothing else; itself (localhost), its link and metadata\n" +
			"services only where they are spelled out. sshd is no destination of a forward: see `tucdesk proxy`. What goes\n" +
			"through is end-to-end encrypted to the machine, and " + ungated + ": the audit log keeps where to, when and how much.",
		Example: "  tucdesk forward 5432:db.internal:5432 web-1\n  tucdesk forward 0:localhost:9090 web-1 --json",
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) != 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.Complete(cmd, nil, prefix)
		},
	}
	open := c.Asking(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		listen, dest, err := parseForward(args[0])
		if err != nil {
			return err
		}
		return c.forward(cmd.Context(), open, listen, dest, args[1], asJSON)
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print where it listens as JSON")
	return cmd
}

// parseForward cuts [ADDRESS:]PORT:HOST:PORT.
func parseForward(s string) (listen string, d reach.Dest, err error) {
	bad := fmt.Errorf("%q is not [ADDRESS:]PORT:HOST:PORT; IPv6 addresses stand in brackets", s)
	var parts []string
	for rest := s; ; {
		var part string
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return "", d, bad
			}
			part, rest = rest[:end+1], rest[end+1:]
		} else {
			end := strings.IndexByte(rest+":", ':')
			part, rest = rest[:end], rest[end:]
		}
		parts = append(parts, part)
		if rest == "" {
			break
		}
		if rest[0] != ':' {
			return "", d, bad
		}
		rest = rest[1:]
	}
	if len(parts) == 3 {
		parts = append([]string{"127.0.0.1"}, parts...)
	}
	if len(parts) != 4 {
		return "", d, bad
	}
	port, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return "", d, bad
	}
	if d, err = reach.ParseDest(parts[2] + ":" + parts[3]); err != nil {
		return "", d, errors.New(strings.TrimPrefix(err.Error(), "reach: "))
	}
	return net.JoinHostPort(strings.Trim(parts[0], "[]"), strconv.FormatUint(port, 10)), d, nil
}

// jsonForward is what forward prints with --json, once it listens.
type jsonForward struct {
	Listening string `json:"listening"`
	Dest      string `json:"destination"`
	Target    string `json:"target"`
	Gate      string `json:"gate"`
	Recording string `json:"recording"`
}

// forward serves until ctx or the session ends.
func (c *CLI) forward(ctx context.Context, open Opener, listen string, d reach.Dest, target string, asJSON bool) error {
	t, done, err := open(ctx, backend.OpenRequest{Target: backend.TargetID(target), Kind: backend.KindForward, Argv: []string{d.String()}})
	if err != nil {
		return err
	}
	defer done()
	defer t.Close()
	again, ok := backend.TerminalAs[backend.Repeater](t)
	if !ok {
		return fmt.Errorf("this backend can't forward: %w", errors.ErrUnsupported)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// The channel that was opened first is never used: it ends when the session does.
	last := c.notes(t, false)
	go func() {
		stop(cmpErr(ended(t, target, last, nil), errors.New("the session has ended")))
	}()
	context.AfterFunc(ctx, func() { l.Close() })
	if asJSON {
		err = output.JSON(c.Out, jsonForward{l.Addr().String(), d.String(), target, "none", "off"})
	} else {
		c.say("%s leads to %s by %s (%s); Ctrl-C ends it", l.Addr(), d, target, ungated)
	}
	if host, _, _ := net.SplitHostPort(l.Addr().String()); !net.ParseIP(host).IsLoopback() {
		c.say("whoever reaches %s can use it", l.Addr())
	}
	if err == nil {
		err = c.accept(ctx, l, again, d, target)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// accept serves connections until ctx ends.
func (c *CLI) accept(ctx context.Context, l net.Listener, again backend.Repeater, d reach.Dest, target string) error {
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, maxConns)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		all.Go(func() {
			defer func() { <-room }()
			defer conn.Close()
			if err := c.connection(ctx, conn, again, target); err != nil && ctx.Err() == nil {
				c.say("a connection to %s: %s", d, err)
			}
		})
	}
}

// connection serves one connection by one more channel.
func (c *CLI) connection(ctx context.Context, conn net.Conn, again backend.Repeater, target string) error {
	opening, cancel := context.WithTimeout(ctx, againIn)
	defer cancel()
	t, err := again.Again(opening)
	if err != nil {
		return err
	}
	defer t.Close()
	defer context.AfterFunc(ctx, func() { t.Close(); conn.Close() })()
	last := c.notes(t, false)
	if err = tunnel.Connect(t); err == nil {
		err = tunnel.Pump(conn, t, func() error { return closeWrite(t) })
	}
	if err != nil && !errors.Is(err, io.EOF) {
		// One side has gone: the other has nobody to tell.
		t.Close()
	}
	return ended(t, target, last, nil)
}

func (c *CLI) proxyCommand() *cobra.Command {
	var (
		to    string
		quiet bool
	)
	cmd := &cobra.Command{
		Use:   "proxy TARGET",
		Short: "Carry standard input and output to a machine's sshd: OpenSSH's ProxyCommand",
		Long: "Carry standard input and output to the sshd of a machine, or with --to to another host and port as the machine\n" +
			"sees them. It is for OpenSSH's ProxyCommand, and for what is built on it: scp, rsync, git, Ansible. In ~/.ssh/config:\n\n" +
			"  Host web-1\n    ProxyCommand tucdesk proxy %h\n\n" +
			"sshd then does what it is configured to: what goes through is " + ungated + " by TucDesk. So it is a kind of session\n" +
			"by itself, which policy must list (`proxy`), and the audit log keeps who, when and how much.",
		Example: "  ssh -o ProxyCommand='tucdesk proxy %h' deploy@web-1",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: c.Complete,
	}
	open := c.Asking(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := reach.ParseDest(to)
		if err != nil {
			return errors.New("--to: " + strings.TrimPrefix(err.Error(), "reach: "))
		}
		return c.proxy(cmd.Context(), open, d, args[0], quiet)
	}
	cmd.Flags().StringVar(&to, "to", "localhost:22", "HOST:PORT as the machine sees it")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "do not say that it is "+ungated)
	return cmd
}

func (c *CLI) proxy(ctx context.Context, open Opener, d reach.Dest, target string, quiet bool) error {
	t, done, err := open(ctx, backend.OpenRequest{Target: backend.TargetID(target), Kind: backend.KindProxy, Argv: []string{d.String()}})
	if err != nil {
		return err
	}
	defer done()
	defer t.Close()
	defer context.AfterFunc(ctx, func() { t.Close() })()
	last := c.notes(t, false)
	if err := tunnel.Connect(t); err != nil {
		return ended(t, target, last, err)
	}
	if !quiet {
		c.say("%s by %s: %s", d, target, ungated)
	}
	go func() {
		// It may outlive the connection; the process ends then.
		if _, err := io.Copy(t, c.In); err == nil {
			closeWrite(t)
		}
	}()
	if _, err = io.Copy(c.Out, t); err == nil {
		// ssh is done once the machine's side has ended, whether or not its input has.
		closeWrite(t)
	}
	return ended(t, target, last, err)
}
