// Package policies is the part of the command line about the team's policy: read it,
// ask it, test it, compare it, change it.
//
// Invariants: every answer is policy.Evaluate's, with what this device has verified
// of the roster. Where apid can't be reached, the last known roster answers, and that
// is said. What came from a network or a file passes internal/sanitize.
//
// It must not import a service.
package policies

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/catalogue"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/lint"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

// A CLI makes commands with what it has. All fields are required.
type CLI struct {
	Out, Err io.Writer
	Open     func() (*control.Backend, error) // the team of this home
	Read     func(path string, max int64) ([]byte, error)
	Sign     func(ctx context.Context, kind roster.Kind, body func(*roster.Roster) (any, error)) error
	Exit     func(code int) error // what was printed already says all there is to say
	Target   cobra.CompletionFunc // completes names of machines
}

// Exit codes of checks. Errors have those of the whole command line.
const (
	exitFound  = 1   // a test failed, or lint found something
	exitDenied = 126 // the answer is deny or hold
)

// Command gives the command with all that is below it.
func (c *CLI) Command() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "The team's signed policy: read it, ask it, test it, compare it", Args: cobra.NoArgs}
	cmd.AddCommand(c.show(), c.log(), c.check(false), c.check(true), c.whoCan(), c.whatCan(), c.test(), c.lint(), c.diff(), c.set(), c.schema(), c.starter(), c.catalogue())
	return cmd
}

// team opens the team and says if what it knows may be old.
func (c *CLI) team(ctx context.Context) (*control.Backend, *roster.Roster, error) {
	b, err := c.Open()
	if err != nil {
		return nil, nil, err
	}
	r, err := b.Sync(ctx)
	if r == nil {
		b.Close()
		return nil, nil, err
	}
	if err != nil {
		fmt.Fprintf(c.Err, "tucdesk: answered by what this device knew last (roster statement %d): %s\n", r.Head().Seq, sanitize.Clean(err.Error()))
	}
	return b, r, nil
}

var errNoPolicy = errors.New("the team has no policy yet, so everything is denied; an admin sets one with `tucdesk policy set FILE`; `tucdesk policy starter` prints one to begin with")

func targetsOf(r *roster.Roster) []policy.Target {
	var targets []policy.Target
	for _, a := range r.Agents() {
		targets = append(targets, policy.Target{Name: a.Name, Tags: a.Tags, LoginUser: a.LoginUser})
	}
	return targets
}

func (c *CLI) show() *cobra.Command {
	var version uint64
	cmd := &cobra.Command{
		Use: "show", Short: "Print the policy in force, as this device has verified it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, r, err := c.team(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			if r.PolicyVersion() == 0 {
				return errNoPolicy
			}
			v, err := versionOf(r, version)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Err, "version %d, hash %s\n", v.Version, v.Hash)
			_, err = c.Out.Write(v.Document)
			return err
		},
	}
	cmd.Flags().Uint64Var(&version, "version", 0, "an earlier version (`tucdesk policy log` lists them)")
	return cmd
}

// versionOf finds a signed version; 0 is the one in force.
func versionOf(r *roster.Roster, version uint64) (roster.PolicyVersion, error) {
	if version == 0 {
		version = r.PolicyVersion()
	}
	for _, v := range r.Policies() {
		if v.Version == version {
			return v, nil
		}
	}
	if r.PolicyVersion() == 0 {
		return roster.PolicyVersion{}, errNoPolicy
	}
	return roster.PolicyVersion{}, fmt.Errorf("the roster has no version %d of the policy; it has 1 to %d", version, r.PolicyVersion())
}

func (c *CLI) test() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "test FILE", Short: "Run a policy file's own tests against the team's roster. Exit 1 if one fails", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := c.Read(args[0], roster.MaxPolicy)
			if err != nil {
				return err
			}
			b, r, err := c.team(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			s, err := r.WithPolicy(doc)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			type result struct {
				Line    int    `json:"line"`
				Passed  bool   `json:"passed"`
				Effect  string `json:"effect"`
				Rule    string `json:"rule,omitempty"`
				Problem string `json:"problem,omitempty"`
			}
			results, failed := []result{}, 0
			for _, t := range s.Policy.RunTests(r) {
				results = append(results, result{t.Line, t.Passed, t.Verdict.Effect.String(), t.Verdict.Rule, t.Problem})
				if t.Passed {
					continue
				}
				if failed++; !asJSON {
					fmt.Fprintf(c.Out, "line %d: FAILED: %s\n", t.Line, sanitize.Clean(t.Problem))
				}
			}
			if asJSON {
				if err := output.JSON(c.Out, results); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(c.Out, "%d passed, %d failed\n", len(results)-failed, failed)
			}
			if failed > 0 {
				return c.Exit(exitFound)
			}
			return r.CheckPolicy(doc)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *CLI) set() *cobra.Command {
	return &cobra.Command{
		Use: "set FILE", Short: "Sign a policy file into the roster (admins)", Args: cobra.ExactArgs(1),
		Long: "Sign a policy file into the roster. Its tests run first, against the roster; one that fails refuses the write.\n" +
			"What changes, and what lint finds, is shown. Try `tucdesk policy diff FILE --replay 30d` before.",
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := c.Read(args[0], roster.MaxPolicy)
			if err != nil {
				return err
			}
			return c.Sign(cmd.Context(), roster.KindPolicySet, func(r *roster.Roster) (any, error) {
				if err := r.CheckPolicy(doc); err != nil {
					return nil, fmt.Errorf("%s: %w", args[0], err)
				}
				if string(doc) == string(r.PolicyDocument()) {
					return nil, fmt.Errorf("%s is the policy in force already (version %d); there is nothing to sign", args[0], r.PolicyVersion())
				}
				output.Text(c.Err, output.Diff(fmt.Sprintf("version %d", r.PolicyVersion()), r.PolicyDocument(), args[0], doc))
				s, err := r.WithPolicy(doc)
				if err != nil {
					return nil, err
				}
				for _, f := range lint.Policy(s, targetsOf(r)) {
					if f.Severity > lint.Note {
						fmt.Fprintf(c.Err, "tucdesk: line %d: %s\n", f.Line, sanitize.Clean(f.Text))
					}
				}
				return roster.PolicySet{Version: r.PolicyVersion() + 1, Hash: envelope.Sum(doc), Document: doc}, nil
			})
		},
	}
}

func (c *CLI) lint() *cobra.Command {
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use: "lint [FILE]", Short: "Find what is likely a mistake in a policy: shadowed entries, production without approval, unknown roles, …",
		Long: "Find what is likely a mistake in a policy file, or in the policy in force. Exit 1 if there is an error, with --strict\n" +
			"also if there is a warning. On a device without a team, people and machines are not looked at.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, targets, err := c.proposed(cmd.Context(), args)
			if err != nil {
				return err
			}
			type finding struct {
				Line     int    `json:"line"`
				Severity string `json:"severity"`
				Code     string `json:"code"`
				Text     string `json:"text"`
			}
			rows, bad := []finding{}, false
			for _, f := range lint.Policy(s, targets) {
				rows = append(rows, finding{f.Line, f.Severity.String(), f.Code, f.Text})
				bad = bad || f.Severity == lint.Error || strict && f.Severity == lint.Warning
			}
			if asJSON {
				if err := output.JSON(c.Out, rows); err != nil {
					return err
				}
			} else {
				for _, f := range rows {
					fmt.Fprintf(c.Out, "line %d: %s: %s (%s)\n", f.Line, f.Severity, sanitize.Clean(f.Text), f.Code)
				}
				if len(rows) == 0 {
					fmt.Fprintln(c.Err, "nothing found")
				}
			}
			if bad {
				return c.Exit(exitFound)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings fail, too")
	return cmd
}

// proposed gives what a file, or the policy in force, would be judged with.
func (c *CLI) proposed(ctx context.Context, args []string) (*policy.Snapshot, []policy.Target, error) {
	if len(args) == 0 {
		b, r, err := c.team(ctx)
		if err != nil {
			return nil, nil, err
		}
		defer b.Close()
		if r.PolicyVersion() == 0 {
			return nil, nil, errNoPolicy
		}
		return r.Snapshot(), targetsOf(r), nil
	}
	doc, err := c.Read(args[0], roster.MaxPolicy)
	if err != nil {
		return nil, nil, err
	}
	p, err := policy.Parse(doc)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", args[0], err)
	}
	b, r, err := c.team(ctx)
	if err != nil {
		fmt.Fprintf(c.Err, "tucdesk: without people and machines: %s\n", sanitize.Clean(err.Error()))
		return &policy.Snapshot{Policy: p}, nil, nil
	}
	defer b.Close()
	s, err := r.WithPolicy(doc)
	return s, targetsOf(r), err
}

func (c *CLI) schema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of policy files, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.Out.Write(policy.Schema())
			return err
		},
	}
}

//go:embed starter.yaml
var starter []byte

func (c *CLI) starter() *cobra.Command {
	return &cobra.Command{
		Use: "starter", Short: "Print a policy to begin with, for a team that has none", Args: cobra.NoArgs,
		Long: "Print a policy to begin with. Save it, read it, change it, and sign it into the roster:\n\n" +
			"  tucdesk policy starter > policy.yaml && tucdesk policy lint policy.yaml && tucdesk policy set policy.yaml",
		RunE: func(*cobra.Command, []string) error {
			_, err := c.Out.Write(starter)
			return err
		},
	}
}

func (c *CLI) catalogue() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "catalogue [WORD…]", Short: "List what TucDesk knows about commands, for policies that say `catalogue: 1`",
		Long: "List the shipped catalogue: patterns of commands, how much each can do, and what it does in plain words.\n" +
			"With words, only entries that hold all of them.",
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := catalogue.Open(catalogue.Newest)
			if err != nil {
				return err
			}
			type row struct {
				Tier string `json:"tier"`
				Run  string `json:"run"`
				Why  string `json:"why"`
			}
			rows := []row{}
			for tier := command.Critical; tier > command.Low; tier-- {
			entries:
				for _, p := range all[tier] {
					for _, word := range args {
						if !strings.Contains(p.Text+" "+p.Why, word) {
							continue entries
						}
					}
					rows = append(rows, row{tier.String(), p.Text, p.Why})
				}
			}
			if asJSON {
				return output.JSON(c.Out, rows)
			}
			t := output.NewTable(c.Out, "TIER", "COMMAND", "WHAT IT DOES")
			for _, r := range rows {
				t.Row(sanitize.Clean(r.Tier), sanitize.Clean(r.Run), sanitize.Clean(r.Why))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// parseTime reads --at.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--at wants a time such as 2026-11-23T10:00:00+01:00: %w", err)
	}
	return at, nil
}
