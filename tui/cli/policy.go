package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "The team's signed policy: read it, ask it, test it", Args: cobra.NoArgs}
	cmd.AddCommand(a.policyShow(), a.policyCheck(false), a.policyCheck(true), a.policyTest(), a.policySet(), a.policySchema())
	return cmd
}

func (a *app) policyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the policy in force, as this device has verified it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			r, err := b.Sync(cmd.Context())
			if err != nil {
				fmt.Fprintf(a.stderr, "tucdesk: shown as last known: %s\n", sanitize.Clean(err.Error()))
			}
			if r.PolicyVersion() == 0 {
				return errors.New("the team has no policy yet, so everything is denied; an admin sets one with `tucdesk policy set FILE`")
			}
			fmt.Fprintf(a.stderr, "version %d, hash %s\n", r.PolicyVersion(), r.PolicyHash())
			_, err = a.stdout.Write(r.PolicyDocument())
			return err
		},
	}
}

// policyCheck asks the policy about a request; explain adds how it came to its
// answer.
func (a *app) policyCheck(explain bool) *cobra.Command {
	var (
		member, as, at string
		asJSON         bool
	)
	use, short := "check TARGET [-- COMMAND…]", "What would policy answer? Exit 0 for allow and confirm"
	if explain {
		use, short = "explain TARGET [-- COMMAND…]", "Why would policy answer so: which entries were looked at, and what each said"
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			r, _ := b.Sync(cmd.Context())
			when := time.Now()
			if at != "" {
				if when, err = time.Parse(time.RFC3339, at); err != nil {
					return fmt.Errorf("--at wants a time such as 2026-11-23T10:00:00+01:00: %w", err)
				}
			}
			agent, err := r.AgentNamed(args[0], when)
			if err != nil {
				return fmt.Errorf("%w: %w", backend.ErrNotFound, err)
			}
			who, err := asker(r, member, b.Home().Identity.Kid(), when)
			if err != nil {
				return err
			}
			kind, argv := policy.Kind(backend.KindShell), []string(nil)
			if len(args) > 1 {
				kind, argv = policy.Kind(backend.KindExec), args[1:]
			}
			req := r.Request(who, agent, kind, as, argv, when)
			x := policy.Explain(req, r.Snapshot())
			if asJSON {
				if err := writeJSON(a.stdout, verdictJSON(x, explain)); err != nil {
					return err
				}
			} else {
				a.printVerdict(x, explain)
			}
			switch x.Verdict.Effect {
			case policy.Allow, policy.Confirm:
				return nil
			}
			return &exitError{exitDenied}
		},
	}
	cmd.Flags().StringVar(&member, "member", "", "ask for this member (e-mail) instead of yourself")
	cmd.Flags().StringVar(&as, "as", "", "user on the target")
	cmd.Flags().StringVar(&at, "at", "", "ask for this time (RFC 3339)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func asker(r *roster.Roster, member string, self [32]byte, at time.Time) (roster.Device, error) {
	if member == "" {
		return r.Device(self, at)
	}
	for _, d := range r.Devices() {
		if d.Email == member {
			return d, nil
		}
	}
	return roster.Device{}, fmt.Errorf("no member of the team has the e-mail %s", sanitize.Clean(member))
}

type jsonVerdict struct {
	Effect  string             `json:"effect"`
	Rule    string             `json:"rule,omitempty"`
	Line    int                `json:"line,omitempty"`
	Tier    string             `json:"tier,omitempty"`
	Reason  string             `json:"reason"`
	Entries []policy.EntryNote `json:"entries,omitempty"`
}

func verdictJSON(x policy.Explanation, explain bool) jsonVerdict {
	v := x.Verdict
	out := jsonVerdict{Effect: v.Effect.String(), Rule: v.Rule, Line: v.Line, Tier: v.Tier, Reason: v.Reason}
	if explain {
		out.Entries = x.Entries
	}
	return out
}

func (a *app) printVerdict(x policy.Explanation, explain bool) {
	fmt.Fprintf(a.stdout, "%s: %s\n", x.Verdict.Effect, sanitize.Clean(x.Verdict.Reason))
	if !explain {
		return
	}
	for _, e := range x.Entries {
		why := "covers the request"
		if !e.Matched {
			why = e.Why
		}
		fmt.Fprintf(a.stdout, "  %s %s (line %d): %s\n", e.List, sanitize.Clean(e.Rule), e.Line, sanitize.Clean(why))
	}
	for _, c := range x.Commands {
		note := c.Pattern
		if c.Why != "" {
			note = c.Why
		}
		fmt.Fprintf(a.stdout, "  command %s: %s", c.Command, sanitize.Clean(c.Tier))
		if note != "" {
			fmt.Fprintf(a.stdout, " by %s (line %d)", sanitize.Clean(note), c.Line)
		}
		fmt.Fprintln(a.stdout)
	}
}

func (a *app) policyTest() *cobra.Command {
	return &cobra.Command{
		Use: "test FILE", Short: "Run a policy file's own tests against the team's roster", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := readFile(args[0], roster.MaxPolicy)
			if err != nil {
				return err
			}
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			r, _ := b.Sync(cmd.Context())
			p, err := policy.Parse(doc)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			passed, failed := 0, 0
			for _, t := range p.RunTests(r) {
				if t.Passed {
					passed++
					continue
				}
				failed++
				fmt.Fprintf(a.stdout, "line %d: FAILED: %s\n", t.Line, sanitize.Clean(t.Problem))
			}
			fmt.Fprintf(a.stdout, "%d passed, %d failed\n", passed, failed)
			if failed > 0 {
				return &exitError{1}
			}
			return r.CheckPolicy(doc)
		},
	}
}

func (a *app) policySet() *cobra.Command {
	return &cobra.Command{
		Use: "set FILE", Short: "Sign a policy file into the roster (admins)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := readFile(args[0], roster.MaxPolicy)
			if err != nil {
				return err
			}
			return a.membership().Sign(cmd.Context(), roster.KindPolicySet, func(r *roster.Roster) (any, error) {
				if err := r.CheckPolicy(doc); err != nil {
					return nil, fmt.Errorf("%s: %w", args[0], err)
				}
				return roster.PolicySet{Version: r.PolicyVersion() + 1, Hash: envelope.Sum(doc), Document: doc}, nil
			})
		},
	}
}

func (a *app) policySchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of policy files, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(policy.Schema())
			return err
		},
	}
}

// readFile reads a file of at most max bytes.
func readFile(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, max)
	}
	return b, nil
}
