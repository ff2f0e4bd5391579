// Package approvals is the part of the command line about what waits for approval:
// list it, read it, decide it, take it back.
//
// Invariants: what is shown is decoded from the bytes that the operator signed, and is
// never cut; a plan is decided as a whole; what came from a network passes
// internal/sanitize.
//
// It must not import a service.
package approvals

import (
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
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/together"
)

// A CLI makes commands with what it has. All fields are required.
type CLI struct {
	In       io.Reader
	Out, Err io.Writer
	Open     func() (*control.Backend, error) // the team of this home
	Person   func() bool                      // somebody reads and types at a terminal
}

// Command gives the command with all that is below it.
func (c *CLI) Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approvals", Short: "What waits for approval", Args: cobra.NoArgs,
		Long: "What waits for approval. What is shown is decoded from the bytes that the operator signed, and an\n" +
			"approval signs exactly these. Nobody decides an own request.",
	}
	cmd.AddCommand(c.list(), c.show(), c.decide(true), c.decide(false), c.cancel())
	return cmd
}

// jsonApproval is an approval as scripts see it. Its texts are raw: JSON carries
// them unambiguously.
type jsonApproval struct {
	ID        string        `json:"id"`
	State     string        `json:"state"`
	Operator  string        `json:"operator"`
	Target    string        `json:"target"`
	Kind      string        `json:"kind"`
	As        string        `json:"as,omitempty"`
	Argv      []string      `json:"argv"`
	Env       []string      `json:"env,omitempty"`
	Cwd       string        `json:"cwd,omitempty"`
	Stdin     string        `json:"stdin,omitempty"`
	Tier      string        `json:"tier,omitempty"`
	Risk      string        `json:"risk,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Lasts     int64         `json:"lasts_s,omitempty"` // seconds
	Asked     time.Time     `json:"asked"`
	AskUntil  time.Time     `json:"ask_until"`
	Approved  int           `json:"approved"`
	Quorum    int           `json:"quorum"`
	Mine      bool          `json:"mine"`
	CanDecide bool          `json:"can_decide"`
	WhyNot    string        `json:"why_not,omitempty"`
	Turn      string        `json:"not_yet,omitempty"`
	Progress  string        `json:"progress"`
	Steps     []step        `json:"steps,omitempty"`
	Approvers []string      `json:"approvers,omitempty"`
	Awaits    []awaited     `json:"who_can,omitempty"`
	Nobody    string        `json:"nobody_can,omitempty"`
	Deciding  []reader      `json:"deciding,omitempty"`
	Content   []jsonContent `json:"content,omitempty"`
	Unread    string        `json:"content_not_covered,omitempty"`
	Runbook   string        `json:"runbook,omitempty"`
	Plan      string        `json:"plan,omitempty"`
	PlanSize  int           `json:"plan_size,omitempty"`
}

// jsonContent is a file whose content is approved, too.
type jsonContent struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Known  string `json:"known,omitempty"`
}

// An awaited is somebody who could say yes now; online as the server says.
type awaited struct {
	Who    string `json:"who"`
	Online bool   `json:"online"`
}

// A reader is somebody else who reads it to decide it, as the server says.
type reader struct {
	Who   string    `json:"who"`
	Since time.Time `json:"since"`
}

// A step is one of what the policy asks for.
type step struct {
	By    []string `json:"by"`
	Waits string   `json:"waits_for,omitempty"`
}

func toJSON(p backend.Approval) jsonApproval {
	var steps []step
	for _, s := range p.Steps {
		steps = append(steps, step{By: append([]string{}, s.By...), Waits: s.Waits})
	}
	var files []jsonContent
	for _, f := range p.Content {
		files = append(files, jsonContent(f))
	}
	var awaits []awaited
	for _, w := range p.Awaits {
		awaits = append(awaits, awaited(w))
	}
	var readers []reader
	for _, r := range p.Readers {
		readers = append(readers, reader(r))
	}
	return jsonApproval{
		Content: files, Awaits: awaits, Nobody: p.Nobody, Deciding: readers,
		ID: string(p.ID), State: string(p.State), Operator: p.Operator, Target: p.Target, Kind: p.Kind, As: p.As,
		Argv: p.Argv, Env: p.Env, Cwd: p.Cwd, Stdin: p.Stdin, Tier: p.Tier, Risk: p.Risk, Reason: p.Reason, Lasts: int64(p.Lasts / time.Second), Asked: p.Asked, AskUntil: p.AskUntil,
		Approved: p.Approved, Quorum: p.Quorum, Mine: p.Mine, CanDecide: p.CanDecide, WhyNot: p.WhyNot, Turn: p.Turn, Progress: p.Progress(), Steps: steps,
		Approvers: p.Approvers, Unread: p.Unread, Runbook: p.Runbook, Plan: p.Plan, PlanSize: p.PlanSize,
	}
}

// what says in one line what an approval is about.
func what(p backend.Approval) sanitize.Text {
	if len(p.Argv) == 0 {
		if p.Kind == string(backend.KindShell) && p.WhyNot == "" {
			return sanitize.Literal("a login shell")
		}
		return sanitize.Clean("(" + p.Kind + ", not readable here)")
	}
	if p.Kind != string(backend.KindExec) {
		return sanitize.Argv(append([]string{p.Kind}, p.Argv...)) // what a copy, a forward or a proxy asks for
	}
	return sanitize.Argv(p.Argv)
}

func (c *CLI) list() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what waits for approval, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			rows := []jsonApproval{}
			t := output.NewTable(c.Out, "ID", "WHO", "WHERE", "LEFT", "YOU", "WHAT")
			shown := map[string]bool{}
			for p, err := range b.Pending(cmd.Context()) {
				if err != nil {
					return err
				}
				rows = append(rows, toJSON(p))
				if p.Plan != "" {
					if shown[p.Plan] {
						continue // one line for a plan
					}
					shown[p.Plan] = true
					p.Target = fmt.Sprintf("%s and %d more", p.Target, p.PlanSize-1)
				}
				you := "may decide"
				switch {
				case p.Mine:
					you = "asked"
				case !p.CanDecide:
					you = "may not"
				case p.Turn != "":
					you = "later"
				}
				if others := p.Reading(time.Now()); others != "" {
					you += "; " + others
				}
				t.Row(sanitize.Clean(string(p.ID)), sanitize.Clean(p.Operator), sanitize.Clean(p.Target),
					sanitize.Clean(output.Until(p.AskUntil, time.Now())), sanitize.Clean(you), what(p))
			}
			if asJSON {
				return output.JSON(c.Out, rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(c.Err, "nothing waits for approval")
				return nil
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// wholeIn is how long a plan may take to arrive: its requests are filed one by one.
const wholeIn = 10 * time.Second

// find gives the waiting approval with this id, or with the one id that begins so;
// with it all others that were asked for together with it, which it waits for a
// little.
func find(ctx context.Context, b backend.Approver, id string) ([]backend.Approval, error) {
	for began := time.Now(); ; {
		found, err := look(ctx, b, id)
		if err != nil || len(found) >= found[0].PlanSize || time.Since(began) > wholeIn {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// look is find, once.
func look(ctx context.Context, b backend.Approver, id string) ([]backend.Approval, error) {
	var all, found []backend.Approval
	for p, err := range b.Pending(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, p)
		if id != "" && strings.HasPrefix(string(p.ID), id) {
			found = append(found, p)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("%w: no approval %s waits; `tucdesk approvals list` shows what does", backend.ErrNotFound, sanitize.Clean(id))
	case len(found) > 1:
		return nil, fmt.Errorf("%d approvals begin with %s; give more of the id", len(found), sanitize.Clean(id))
	case found[0].Plan == "":
		return found, nil
	}
	plan := found[0].Plan
	return slices.DeleteFunc(all, func(p backend.Approval) bool { return p.Plan != plan }), nil
}

// printAll shows approvals that were asked for together: once what is the same on several
// machines.
func (c *CLI) printAll(ps together.Plan) {
	if ps.IsOne() {
		c.print(ps[0])
		return
	}
	fmt.Fprintf(c.Out, "one plan for %s\n", ps.Size())
	if why := ps.Missing(); why != "" {
		fmt.Fprintln(c.Out, why)
	}
	groups := ps.Groups()
	for i, one := range groups {
		if len(groups) > 1 {
			fmt.Fprintf(c.Out, "\n-- %d of %d\n", i+1, len(groups))
		}
		c.print(one)
	}
}

func (c *CLI) print(p backend.Approval) { Print(c.Out, p) }

// Print shows an approval whole. Nothing is cut: who signs must have seen the end.
func Print(w io.Writer, p backend.Approval) {
	line := func(k string, v sanitize.Text) {
		if !v.IsZero() {
			fmt.Fprintf(w, "%-10s %s\n", k, v)
		}
	}
	line("approval", sanitize.Clean(string(p.ID)))
	line("operator", sanitize.Clean(p.Operator))
	line("target", sanitize.Clean(p.Target))
	as := p.As
	if as == "" {
		as = "(the target's login user)"
	}
	line("as", sanitize.Clean(as))
	line("runbook", sanitize.Clean(p.Runbook))
	line("command", what(p))
	if p.Cwd == "" {
		line("cwd", sanitize.Literal("(that user's home)"))
	} else {
		line("cwd", sanitize.Clean(p.Cwd))
	}
	for _, e := range p.Env {
		line("env", sanitize.Clean(e))
	}
	line("stdin", sanitize.Clean(p.Stdin))
	for _, f := range p.Content {
		line("file", sanitize.Clean(f.String()))
	}
	line("content", sanitize.Clean(p.NotCovered()))
	line("note", sanitize.Clean(backend.Kind(p.Kind).Ungated()))
	line("tier", sanitize.Clean(p.Tier))
	if p.Risk != "" {
		line("risk", sanitize.Clean("it "+p.Risk))
	}
	line("reason", sanitize.Clean(p.Reason))
	if p.Lasts > 0 {
		line("for", sanitize.Clean(p.Lasts.String()+" at most, then it ends"))
	}
	line("approved", sanitize.Clean(p.Progress()))
	line("who may", sanitize.Clean(strings.Join(p.Approvers, ", ")))
	line("can now", sanitize.Clean(p.WhoCan()))
	line("deciding", sanitize.Clean(p.Reading(time.Now())))
	line("decide by", sanitize.Clean(fmt.Sprintf("%s (%s left)", p.AskUntil.Format(time.DateTime), output.Until(p.AskUntil, time.Now()))))
	line("you", sanitize.Clean(p.WhyNot))
	if p.Turn != "" {
		line("you", sanitize.Clean("you can say no; for a yes, "+p.Turn))
	}
}

func (c *CLI) show() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one approval whole", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			ps, err := find(cmd.Context(), b, args[0])
			if err != nil {
				return err
			}
			if !asJSON {
				c.printAll(ps)
				return nil
			}
			if ps[0].Plan == "" {
				return output.JSON(c.Out, toJSON(ps[0]))
			}
			rows := []jsonApproval{}
			for _, p := range ps {
				rows = append(rows, toJSON(p))
			}
			return output.JSON(c.Out, rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *CLI) decide(approve bool) *cobra.Command {
	var (
		reason string
		yes    bool
	)
	use, short := "approve ID", "Approve: sign exactly what is shown"
	if !approve {
		use, short = "deny ID --reason WHY", "Deny, with a reason for the person who asked"
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !approve && reason == "" {
				return errors.New("a refusal needs --reason: the person who asked must learn why")
			}
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			ps, err := find(cmd.Context(), b, args[0])
			if err != nil {
				return err
			}
			c.printAll(ps)
			if approve && !yes {
				defer inquiry.Attend(cmd.Context(), b, ps[0].ID)()
				if !c.Person() {
					return errors.New("approving needs a terminal to read the request in, or --yes")
				}
				// For high risk a single key is too little: the target's name
				// is typed.
				word, what := together.Plan(ps).Word()
				fmt.Fprintf(c.Err, "sign this? type %s (%s): ", what, sanitize.Clean(word))
				var answer string
				if _, err := fmt.Fscanln(c.In, &answer); err != nil || answer != word {
					return fmt.Errorf("not approved: %s was not typed", what)
				}
			}
			if err := decideAll(cmd.Context(), b, ps, backend.Decision{Approve: approve, Reason: reason}); err != nil {
				return err
			}
			if approve {
				fmt.Fprintln(c.Out, "approved")
			} else {
				fmt.Fprintln(c.Out, "denied")
			}
			return nil
		},
	}
	if approve {
		cmd.Flags().BoolVar(&yes, "yes", false, "approve without typing the target's name")
	} else {
		cmd.Flags().StringVar(&reason, "reason", "", "why, for the person who asked")
	}
	return cmd
}

// decideAll decides one approval, or a plan as a whole.
func decideAll(ctx context.Context, b *control.Backend, ps []backend.Approval, d backend.Decision) error {
	if together.Plan(ps).IsOne() {
		return b.Decide(ctx, ps[0].ID, d)
	}
	ids := make([]backend.ApprovalID, len(ps))
	for i, p := range ps {
		ids[i] = p.ID
	}
	n, err := b.DecideTogether(ctx, ids, d)
	if err != nil && n > 0 {
		return fmt.Errorf("%d of %d requests were decided, then: %w", n, len(ps), err)
	}
	return err
}

func (c *CLI) cancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "Take back a request of yours, wherever it was made", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			ps, err := find(cmd.Context(), b, args[0])
			if err != nil {
				return err
			}
			for _, p := range ps {
				if err := b.Cancel(cmd.Context(), p.ID); err != nil {
					return err
				}
			}
			fmt.Fprintln(c.Out, "taken back")
			return nil
		},
	}
}
