// Package backends is the part of the command line about where terminals come from:
// what there is, built in or as programs on PATH, and whether one does what every
// backend must.
//
// Invariants: a scheme that is built in is never a program's. What a backend says
// passes internal/sanitize. Nothing is started to be listed.
//
// It must not import a service, nor backend/control: to it all backends are alike.
package backends

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/execplugin"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
	"github.com/tucdesk/tucdesk/tui/console/argv"
)

// A CLI makes commands with what it has. All fields are required.
type CLI struct {
	Out, Err io.Writer
	Registry *backend.Registry
	Exit     func(code int) error // what was printed already says all there is to say
}

// Command gives the command with all that is below it.
func (c *CLI) Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backend", Short: "Where terminals come from: what there is, and whether it does what it must", Args: cobra.NoArgs,
		Long: "The console opens what is built in, and programs called tucdesk-backend-NAME on PATH, in any language:\n" +
			"tucdesk --backend NAME:whatever. backend/execplugin/SPEC.md says what such a program must do.",
	}
	cmd.AddCommand(c.list(), c.test())
	return cmd
}

func (c *CLI) builtIn(scheme string) bool {
	for _, d := range c.Registry.Drivers() {
		if d.Scheme == scheme {
			return true
		}
	}
	return false
}

// Open opens a backend by its URL, or by the file of a plugin, and gives its URL. What a
// plugin says to people goes to logger; nil: nobody wants to hear it.
func (c *CLI) Open(ctx context.Context, name string, logger *slog.Logger) (backend.Backend, string, error) {
	scheme, _, isURL := strings.Cut(name, ":")
	switch byFile := !isURL && strings.ContainsAny(name, `/\`); {
	case c.builtIn(scheme) && isURL:
	case c.builtIn(scheme):
		name += ":"
	default:
		find := scheme
		if byFile {
			find = name
		}
		p, err := execplugin.Look(find)
		if errors.Is(err, execplugin.ErrNoPlugin) {
			return nil, "", fmt.Errorf("no backend %q is built in, and there is no program for it; `tucdesk backend list` shows what there is: %w", scheme, err)
		}
		if err != nil {
			return nil, "", err
		}
		if c.builtIn(p.Name) {
			return nil, "", fmt.Errorf("%s can't be used: tucdesk has %s: itself; give the file another name", p.Path, p.Name)
		}
		if !isURL {
			name = p.Name + ":"
		}
		if err := c.Registry.Register(execplugin.Driver(p)); err != nil {
			return nil, "", err
		}
	}
	b, err := c.Registry.Open(ctx, name, backend.Env{Logger: logger})
	return b, name, err
}

// A row is one backend of the list.
type row struct {
	Scheme string `json:"scheme"`
	Kind   string `json:"kind"` // "built in", or "program"
	Doc    string `json:"doc"`
	Path   string `json:"path,omitempty"` // of a program
	// Hidden is a program whose scheme is built in: it is never started.
	Hidden bool `json:"hidden,omitempty"`
}

func (c *CLI) list() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the backends: what is built in, and the programs on PATH", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rows := []row{}
			for _, d := range c.Registry.Drivers() {
				rows = append(rows, row{Scheme: d.Scheme, Kind: "built in", Doc: d.Doc})
			}
			for _, p := range execplugin.Find() {
				r := row{Scheme: p.Name, Kind: "program", Doc: execplugin.Driver(p).Doc, Path: p.Path}
				if c.builtIn(p.Name) {
					r.Hidden, r.Doc = true, "not used, since "+p.Name+": is built in: "+p.Path
				}
				rows = append(rows, r)
			}
			if asJSON {
				return output.JSON(c.Out, rows)
			}
			t := output.NewTable(c.Out, "SCHEME", "KIND", "WHAT")
			for _, r := range rows {
				t.Row(sanitize.Clean(r.Scheme), sanitize.Clean(r.Kind), sanitize.Clean(r.Doc))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// openFor bounds what happens before the first case.
const openFor = 30 * time.Second

// A trial is what `backend test` was told.
type trial struct {
	target, cat, exit, size string
	denied, held, approver  string
}

func (c *CLI) test() *cobra.Command {
	var (
		asJSON bool
		tr     trial
	)
	cmd := &cobra.Command{
		Use:   "test NAME|URL|FILE",
		Short: "Run the suite that every backend passes",
		Long: "Run the suite that every backend passes, on one that is built in (local), on a program on PATH (NAME) or on a\n" +
			"file (./tucdesk-backend-NAME). It opens terminals and runs small commands on one target of it.\n" +
			"What the backend does not declare, and what it was not told about, is not tried, and says so.\n" +
			"Exit code 0: nothing failed. 1: something did.",
		Example: "  tucdesk backend test ./tucdesk-backend-acme\n" +
			"  tucdesk backend test acme:prod --target web-1 --denied 'vault' --held 'db-1 restart api' --approver acme:bob\n" +
			"  tucdesk backend test mem:alice --target web-1 --exit 'exit %d' --size size --denied vault",
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, d := range c.Registry.Drivers() {
				names = append(names, d.Scheme)
			}
			for _, p := range execplugin.Find() {
				names = append(names, p.Name)
			}
			return names, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.examine(cmd.Context(), args[0], tr, asJSON) },
	}
	f := cmd.Flags()
	f.StringVar(&tr.target, "target", "", "the target to try (default: the first that is online)")
	f.StringVar(&tr.cat, "cat", "cat", "a command that copies its input to its output")
	f.StringVar(&tr.exit, "exit", "sh -c 'exit %d'", "a command that ends with the code that stands for %d")
	f.StringVar(&tr.size, "size", "sh -c 'while read line; do stty size; done'", "a command that prints ROWS COLS of its terminal for each line")
	f.StringVar(&tr.denied, "denied", "", "a target, and a command if not a shell, that policy denies")
	f.StringVar(&tr.held, "held", "", "a target, and a command if not a shell, that policy holds for approval")
	f.StringVar(&tr.approver, "approver", "", "the URL of the same backend as somebody who may approve what is held")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A report is what `backend test --json` prints.
type report struct {
	Backend string         `json:"backend"`
	Target  string         `json:"target"`
	Counts  map[string]int `json:"counts"`
	Cases   []caseReport   `json:"cases"`
}

type caseReport struct {
	Name  string   `json:"name"`
	State string   `json:"state"` // ok, failed or skipped
	MS    int64    `json:"ms"`
	Notes []string `json:"notes,omitempty"`
}

func (c *CLI) examine(ctx context.Context, name string, tr trial, asJSON bool) error {
	h, err := tr.harness()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(c.Err, nil))
	open := func(t backendtest.T, name string) backend.Backend {
		t.Helper()
		b, _, err := c.Open(t.Context(), name, logger)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, url, err := c.Open(ctx, name, logger)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	if h.Target, err = choose(within, first, tr.target); err == nil {
		if tr.approver != "" {
			h.Approver = func(t backendtest.T, _ backend.Backend) backend.Backend { return open(t, tr.approver) }
		}
		h.Skip, err = h.Lacks(within, first)
	}
	if err = errors.Join(err, first.Close()); err != nil {
		return fmt.Errorf("the suite can't begin; --target and --cat say what to open: %w", err)
	}
	h.New = func(t backendtest.T) backend.Backend { return open(t, url) }

	r := report{Backend: url, Target: string(h.Target), Counts: map[string]int{}, Cases: []caseReport{}}
	begin := func(name string) { fmt.Fprintf(c.Out, "%-30s ", name) }
	end := func(res backendtest.Result) {
		for i, line := range say(res) {
			if i > 0 {
				fmt.Fprint(c.Out, "    ")
			}
			fmt.Fprintln(c.Out, line)
		}
	}
	if asJSON {
		begin, end = func(string) {}, func(backendtest.Result) {}
	} else {
		fmt.Fprintf(c.Out, "%s, on target %s\n", sanitize.Clean(url), sanitize.Clean(r.Target))
	}
	err = backendtest.Examine(ctx, h, begin, func(res backendtest.Result) {
		r.Counts[string(res.State)]++
		r.Cases = append(r.Cases, caseReport{res.Name, string(res.State), res.Took.Milliseconds(), res.Notes})
		end(res)
	})
	switch {
	case err != nil:
		return err
	case asJSON:
		err = output.JSON(c.Out, r)
	default:
		_, err = fmt.Fprintf(c.Out, "%d ok, %d failed, %d not tried\n", r.Counts["ok"], r.Counts["failed"], r.Counts["skipped"])
	}
	if err == nil && r.Counts[string(backendtest.Failed)] > 0 {
		return c.Exit(1)
	}
	return err
}

// say is a case's end in words, the first line after its name.
func say(res backendtest.Result) []sanitize.Text {
	var lines []sanitize.Text
	for _, note := range res.Notes {
		lines = append(lines, sanitize.Block(note)...)
	}
	switch res.State {
	case backendtest.Skipped:
		return []sanitize.Text{sanitize.Join(sanitize.Literal("not tried: "), sanitize.Clean(strings.Join(res.Notes, "; ")))}
	case backendtest.Passed:
		return append([]sanitize.Text{sanitize.Clean("ok      " + ms(res.Took))}, lines...)
	}
	return append([]sanitize.Text{sanitize.Clean("FAILED  " + ms(res.Took))}, lines...)
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + " ms" }

// harness makes the suite's commands and requests of words.
func (tr trial) harness() (h backendtest.Harness, err error) {
	words := func(flag, text string) []string {
		split, werr := argv.Split(text)
		if werr == nil && len(split) == 0 {
			werr = errors.New("it is empty")
		}
		if werr != nil {
			err = errors.Join(err, fmt.Errorf("--%s: %w", flag, werr))
		}
		return split
	}
	request := func(flag, text string) (req backend.OpenRequest) {
		if text == "" {
			return req
		}
		split := words(flag, text)
		if len(split) == 0 {
			return req
		}
		req = backend.OpenRequest{Target: backend.TargetID(split[0]), Kind: backend.KindShell, Cols: 80, Rows: 24, Reason: "tucdesk backend test"}
		if len(split) > 1 {
			req.Kind, req.Argv = backend.KindExec, split[1:]
		}
		return req
	}
	exit := words("exit", tr.exit)
	if !strings.Contains(tr.exit, "%d") {
		err = errors.Join(err, errors.New("--exit: it has no %d in the place of the code"))
	}
	h = backendtest.Harness{
		Cat: words("cat", tr.cat), Size: words("size", tr.size), Denied: request("denied", tr.denied), Held: request("held", tr.held),
		Exit: func(code int) []string {
			out := make([]string, len(exit))
			for i, w := range exit {
				out[i] = strings.ReplaceAll(w, "%d", strconv.Itoa(code))
			}
			return out
		},
	}
	return h, err
}

// choose finds the target that was named, or the first that may do.
func choose(ctx context.Context, b backend.Backend, name string) (backend.TargetID, error) {
	var other backend.TargetID
	for t, err := range b.Targets(ctx) {
		switch {
		case err != nil:
			return "", err
		case name != "" && (t.Name == name || string(t.ID) == name), name == "" && t.State == backend.Online:
			return t.ID, nil
		case name == "" && other == "" && t.State != backend.Offline:
			other = t.ID
		}
	}
	switch {
	case other != "":
		return other, nil
	case name != "":
		return "", fmt.Errorf("%w: target %q is not listed", backend.ErrNotFound, name)
	}
	return "", errors.New("it lists no target that is not offline")
}
