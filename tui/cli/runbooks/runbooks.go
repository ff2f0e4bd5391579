// Package runbooks is the part of the command line about runbooks: read, check, sign and
// run them.
//
// Invariants: a runbook that runs is the one in the roster, which admins have signed, and
// never a file; what each step would run on each machine is shown before anything runs;
// what is held is approved as one plan; what came from a network passes internal/sanitize.
//
// It must not import a service.
package runbooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

// A CLI makes commands with what it has. All fields are required.
type CLI struct {
	Out, Err io.Writer
	Person   func() fleet.Person
	Open     func(path string) (*control.Backend, error) // the team of this home
	Read     func(path string, max int64) ([]byte, error)
	// Sign makes one statement on top of the newest roster and says its number.
	Sign   func(ctx context.Context, kind roster.Kind, body func(*roster.Roster) (any, error)) error
	Cosign func() *cobra.Command // signs what another admin has proposed
	Tag    cobra.CompletionFunc  // completes tags
	OpenIn time.Duration         // bounds the opening of a session
	Exit   func(code int) error  // an error that says no more than this code
}

// Command gives the command with all that is below it.
func (c *CLI) Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runbook", Short: "Steps that admins have signed, with parameters, run on many machines", Args: cobra.NoArgs,
		Long: "Steps that admins have signed, with parameters, run on many machines. A runbook is a YAML file until as many\n" +
			"admins as the threshold says have signed it into the roster; what runs is what they signed. It gives nobody a\n" +
			"right: policy judges each step as it judges any command. But who approves, and who audits, reads which step of\n" +
			"which runbook it is, and each machine has checked that it is just that.",
		Example: "  tucdesk runbook check restart.yaml && tucdesk runbook propose restart.yaml\n" +
			"  tucdesk runbook run restart --param service=nginx --dry-run",
	}
	cosign := c.Cosign()
	cosign.Short = "Read a proposed runbook with what changes in it, and sign it (admins)"
	cmd.AddCommand(c.list(), c.show(), c.check(), c.propose(), cosign, c.retire(), c.run(), c.schema())
	return cmd
}

// team opens the team with the newest roster; with the known one, and a word about it,
// where apid does not answer.
func (c *CLI) team(ctx context.Context, path string) (*control.Backend, *roster.Roster, error) {
	b, err := c.Open(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := b.Sync(ctx)
	if err != nil {
		fmt.Fprintf(c.Err, "tucdesk: by the roster as last known: %s\n", sanitize.Clean(err.Error()))
	}
	return b, r, nil
}

// anyPath is the way of sessions where none is named.
const anyPath = "auto"

// named finds a runbook in force.
func named(r *roster.Roster, name string) (roster.Runbook, error) {
	b, err := r.RunbookNamed(name)
	if err != nil {
		return b, fmt.Errorf("%w: %w; `tucdesk runbook list` shows what there is", backend.ErrNotFound, err)
	}
	return b, nil
}

// complete completes names of runbooks from the roster on disk, without the network.
func (c *CLI) complete(_ *cobra.Command, args []string, prefix string) (names []string, _ cobra.ShellCompDirective) {
	b, err := c.Open(anyPath)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer b.Close()
	for _, book := range b.Home().Roster().Runbooks() {
		if strings.HasPrefix(book.Name, prefix) {
			names = append(names, cobra.CompletionWithDesc(book.Name, book.Title))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

type jsonParam struct {
	Name    string `json:"name"`
	Title   string `json:"title,omitempty"`
	Takes   string `json:"takes"`
	Default string `json:"default,omitempty"`
}

type jsonStep struct {
	Name      string   `json:"name"`
	Run       []string `json:"run"` // as in the document, with the places of parameters
	As        string   `json:"as,omitempty"`
	Cwd       string   `json:"cwd,omitempty"`
	Targets   string   `json:"targets,omitempty"`
	Parallel  int      `json:"parallel"`
	StopAfter string   `json:"stop_after"`
	Timeout   string   `json:"timeout,omitempty"`
}

type jsonVersion struct {
	Version   uint64    `json:"version"`
	Statement uint64    `json:"statement"`
	At        time.Time `json:"at"`
	SignedBy  []string  `json:"signed_by"`
	Hash      string    `json:"hash,omitempty"`
	Retired   bool      `json:"retired,omitempty"`
}

type jsonRunbook struct {
	Name     string        `json:"name"`
	Title    string        `json:"title,omitempty"`
	Version  uint64        `json:"version,omitempty"`
	Hash     string        `json:"hash,omitempty"`
	Params   []jsonParam   `json:"params"`
	Steps    []jsonStep    `json:"steps"`
	Versions []jsonVersion `json:"versions,omitempty"`
	Document string        `json:"document,omitempty"`
}

func toJSON(b *runbook.Runbook) jsonRunbook {
	out := jsonRunbook{Name: b.Name, Title: b.Title, Params: []jsonParam{}, Steps: []jsonStep{}}
	for _, p := range b.Params {
		out.Params = append(out.Params, jsonParam{p.Name, p.Title, p.Takes(), p.Default})
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		j := jsonStep{Name: s.Name, Run: s.Words(), As: s.As, Cwd: s.Cwd, Targets: s.Targets.String(), Parallel: s.Parallel, StopAfter: s.StopAfter}
		if s.Timeout > 0 {
			j.Timeout = s.Timeout.String()
		}
		out.Steps = append(out.Steps, j)
	}
	return out
}

func (c *CLI) list() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the runbooks that admins have signed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, r, err := c.team(cmd.Context(), anyPath)
			if err != nil {
				return err
			}
			defer b.Close()
			rows := []jsonRunbook{}
			t := output.NewTable(c.Out, "NAME", "VERSION", "STEPS", "PARAMETERS", "WHAT FOR")
			for _, book := range r.Runbooks() {
				j := toJSON(book.Runbook)
				j.Version, j.Hash = book.Version, book.Hash.String()
				rows = append(rows, j)
				var params []string
				for _, p := range book.Params {
					params = append(params, p.Name)
				}
				t.Row(sanitize.Clean(book.Name), sanitize.Clean(fmt.Sprint(book.Version)), sanitize.Clean(fmt.Sprint(len(book.Steps))),
					sanitize.Clean(strings.Join(params, " ")), sanitize.Clean(book.Title))
			}
			if asJSON {
				return output.JSON(c.Out, rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(c.Err, "no runbook is signed; an admin runs `tucdesk runbook propose FILE`")
				return nil
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// describe prints a runbook for people.
func (c *CLI) describe(b *runbook.Runbook) {
	if b.Title != "" {
		fmt.Fprintln(c.Out, sanitize.Clean(b.Title))
	}
	for _, p := range b.Params {
		fmt.Fprintf(c.Out, "parameter %s: %s", p.Name, sanitize.Clean(p.Takes()))
		if p.Default != "" {
			fmt.Fprintf(c.Out, "; %s if it is not given", sanitize.Clean(p.Default))
		}
		if p.Title != "" {
			fmt.Fprintf(c.Out, " (%s)", sanitize.Clean(p.Title))
		}
		fmt.Fprintln(c.Out)
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		fmt.Fprintf(c.Out, "step %d of %d, %s: %s\n", i+1, len(b.Steps), sanitize.Clean(s.Name), sanitize.Argv(s.Words()))
		fmt.Fprintf(c.Out, "    on %s, as %s", sanitize.Clean(cmp.Or(s.Targets.String(), "the machines that --tag or --target names")), sanitize.Clean(cmp.Or(s.As, "the login user")))
		if s.Cwd != "" {
			fmt.Fprintf(c.Out, ", in %s", sanitize.Clean(s.Cwd))
		}
		fmt.Fprintf(c.Out, "; %d at a time, ends after %s failure(s)", s.Parallel, s.StopAfter)
		if s.Timeout > 0 {
			fmt.Fprintf(c.Out, ", %s for each", s.Timeout)
		}
		fmt.Fprintln(c.Out)
	}
}

func (c *CLI) show() *cobra.Command {
	var asJSON, document bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a runbook: its parameters, its steps, and who has signed which version", Args: cobra.ExactArgs(1), ValidArgsFunction: c.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, r, err := c.team(cmd.Context(), anyPath)
			if err != nil {
				return err
			}
			defer b.Close()
			book, err := named(r, args[0])
			if err != nil {
				return err
			}
			j := toJSON(book.Runbook)
			j.Version, j.Hash, j.Document = book.Version, book.Hash.String(), string(book.Document)
			for _, v := range r.RunbookVersions() {
				if v.Name != book.Name {
					continue
				}
				row := jsonVersion{v.Version, v.Seq, v.At.UTC(), v.Signed, "", len(v.Document) == 0}
				if !row.Retired {
					row.Hash = v.Hash.String()
				}
				j.Versions = append(j.Versions, row)
			}
			switch {
			case asJSON:
				return output.JSON(c.Out, j)
			case document:
				output.Text(c.Out, j.Document)
				return nil
			}
			c.describe(book.Runbook)
			fmt.Fprintln(c.Out)
			t := output.NewTable(c.Out, "VERSION", "SIGNED", "STATEMENT", "BY")
			for _, v := range slices.Backward(j.Versions) {
				what := fmt.Sprint(v.Version)
				if v.Retired {
					what += " (taken away)"
				}
				t.Row(sanitize.Clean(what), sanitize.Clean(v.At.Local().Format(time.DateTime)), sanitize.Clean(fmt.Sprint(v.Statement)), sanitize.Clean(strings.Join(v.SignedBy, " ")))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&document, "document", false, "print the document itself")
	return cmd
}

// parseParams reads values as people write them, each as key=value.
func parseParams(list []string) (map[string]string, error) {
	values := map[string]string{}
	for _, text := range list {
		k, v, ok := strings.Cut(text, "=")
		if _, twice := values[k]; !ok || k == "" || twice {
			return nil, fmt.Errorf("--param %s: write each parameter once, as name=value", sanitize.Clean(text))
		}
		values[k] = v
	}
	return values, nil
}

func (c *CLI) check() *cobra.Command {
	var (
		asJSON bool
		params []string
	)
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Read a runbook's file and show what it means; no team is needed", Args: cobra.ExactArgs(1),
		Long: "Read a runbook's file and show what it means; a mistake is told with its line and column. With --param the\n" +
			"commands are shown with these values.",
		RunE: func(_ *cobra.Command, args []string) error {
			book, _, err := c.read(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return output.JSON(c.Out, toJSON(book))
			}
			c.describe(book)
			if len(params) == 0 {
				return nil
			}
			given, err := parseParams(params)
			if err != nil {
				return err
			}
			values, err := book.Values(given)
			if err != nil {
				return err
			}
			for i := range book.Steps {
				_, run, err := book.Match(runbook.Instance{Name: book.Name, Version: 1, Step: uint64(i + 1), Args: values})
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Out, "step %d runs: %s\n", i+1, sanitize.Argv(run.Argv))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringArrayVar(&params, "param", nil, "a parameter's value, as name=value; may be repeated")
	return cmd
}

func (c *CLI) read(path string) (*runbook.Runbook, []byte, error) {
	doc, err := c.Read(path, runbook.MaxDocument)
	if err != nil {
		return nil, nil, err
	}
	book, err := runbook.Parse(doc)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return book, doc, nil
}

func (c *CLI) propose() *cobra.Command {
	return &cobra.Command{
		Use: "propose FILE", Short: "Sign a runbook's file into the roster, or propose it to the other admins (admins)", Args: cobra.ExactArgs(1),
		Long: "Sign a runbook's file into the roster. What changes to the version in force is shown. Where the team's threshold is\n" +
			"more than one, it waits until so many admins have signed the same bytes: `tucdesk runbook sign ID`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			book, doc, err := c.read(args[0])
			if err != nil {
				return err
			}
			return c.Sign(cmd.Context(), roster.KindRunbookSet, func(r *roster.Roster) (any, error) {
				old, err := r.RunbookNamed(book.Name)
				if err == nil && string(old.Document) == string(doc) {
					return nil, fmt.Errorf("%s is version %d of %s already; there is nothing to sign", args[0], old.Version, book.Name)
				}
				next := r.NextRunbook(book.Name, doc)
				fmt.Fprintf(c.Err, "tucdesk: this would be version %d of %s\n", next.Version, sanitize.Clean(book.Name))
				output.Text(c.Err, output.Diff("in force", old.Document, args[0], doc))
				return next, nil
			})
		},
	}
}

func (c *CLI) retire() *cobra.Command {
	return &cobra.Command{
		Use: "retire NAME", Short: "Take a runbook away: nobody can run it any more (one admin is enough)", Args: cobra.ExactArgs(1), ValidArgsFunction: c.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Sign(cmd.Context(), roster.KindRunbookSet, func(r *roster.Roster) (any, error) {
				if _, err := named(r, args[0]); err != nil {
					return nil, err
				}
				return r.NextRunbook(args[0], nil), nil
			})
		},
	}
}

func (c *CLI) schema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of runbooks, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.Out.Write(runbook.Schema())
			return err
		},
	}
}

// runFlags say how a runbook runs.
type runFlags struct {
	params, tags, targets  []string
	reason, path           string
	output                 int
	yes, noWait, skip, dry bool
	asJSON                 bool
	lasts                  time.Duration
}

func (c *CLI) run() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "run NAME", Short: "Run a runbook: the plan first, one approval for all of it, then step by step", Args: cobra.ExactArgs(1), ValidArgsFunction: c.complete,
		Long: "Run a runbook. First the plan is shown: of each step the exact command, its machines and what policy answers there.\n" +
			"Nothing runs unless all of it may, or --skip leaves machines out. What is held is approved once, for exactly these\n" +
			"commands on these machines; the approval must be used within the policy's time, the last step's too. A machine on\n" +
			"which a step fails takes no part in later ones, and a step with as many failures as its stop_after ends the run.\n" +
			"Exit codes are those of `tucdesk exec --tag`.",
		Example: "  tucdesk runbook run restart --param service=nginx --dry-run\n  tucdesk runbook run restart --param service=nginx --tag env=prod --reason 'new certificate'",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.carryOut(cmd.Context(), args[0], f) },
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&f.params, "param", nil, "a parameter's value, as name=value; may be repeated")
	fs.StringArrayVar(&f.tags, "tag", nil, "of each step's machines, those with this tag, as key=value; may be repeated")
	fs.StringArrayVar(&f.targets, "target", nil, "of each step's machines, those of this name; may be repeated")
	fs.StringVar(&f.reason, "reason", "", "why, for the approvers and the audit log")
	fs.DurationVar(&f.lasts, "for", 0, "how long each command is needed at most, such as 30m, where an approval is asked for: then it ends (default: as long as policy lets)")
	fs.StringVar(&f.path, "path", anyPath, "auto: by relay, then directly when that works; relay; direct")
	fs.IntVar(&f.output, "max-output", 1<<20, "bytes of output that are kept of each stream of each machine")
	fs.BoolVar(&f.yes, "yes", false, "confirm the plan without a question")
	fs.BoolVar(&f.noWait, "no-wait", false, "fail when an approval is needed, instead of asking for it")
	fs.BoolVar(&f.skip, "skip", false, "leave out machines that policy denies or that are offline, in every step")
	fs.BoolVar(&f.dry, "dry-run", false, "show the plan and run nothing")
	fs.BoolVar(&f.asJSON, "json", false, "print the plan or the results as JSON")
	_ = cmd.RegisterFlagCompletionFunc("tag", c.Tag)
	_ = cmd.RegisterFlagCompletionFunc("param", c.completeParam)
	return cmd
}

// completeParam completes parameters of the runbook that is named.
func (c *CLI) completeParam(_ *cobra.Command, args []string, prefix string) (out []string, _ cobra.ShellCompDirective) {
	const how = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) != 1 {
		return nil, how
	}
	b, err := c.Open(anyPath)
	if err != nil {
		return nil, how
	}
	defer b.Close()
	book, err := b.Home().Roster().RunbookNamed(args[0])
	if err != nil {
		return nil, how
	}
	for _, p := range book.Params {
		words := []string{p.Name + "="}
		if p.Kind == runbook.OneOf {
			words = nil
			for _, v := range p.Values {
				words = append(words, p.Name+"="+v)
			}
		}
		for _, w := range words {
			if strings.HasPrefix(w, prefix) {
				out = append(out, cobra.CompletionWithDesc(w, p.Takes()))
			}
		}
	}
	return out, how
}

var errNoMachines = errors.New("no machine matches; `tucdesk agents` lists them")
