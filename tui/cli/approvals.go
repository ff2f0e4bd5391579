package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

func (a *app) approvalsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approvals", Short: "What waits for approval", Args: cobra.NoArgs,
		Long: "What waits for approval. What is shown is decoded from the bytes that the operator signed, and an\n" +
			"approval signs exactly these. Nobody decides an own request.",
	}
	cmd.AddCommand(a.approvalsList(), a.approvalsShow(), a.approvalsDecide(true), a.approvalsDecide(false))
	return cmd
}

// jsonApproval is an approval as scripts see it. Its texts are raw: JSON carries
// them unambiguously.
type jsonApproval struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Operator  string    `json:"operator"`
	Target    string    `json:"target"`
	Kind      string    `json:"kind"`
	As        string    `json:"as,omitempty"`
	Argv      []string  `json:"argv"`
	Env       []string  `json:"env,omitempty"`
	Cwd       string    `json:"cwd,omitempty"`
	Stdin     string    `json:"stdin,omitempty"`
	Tier      string    `json:"tier,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Asked     time.Time `json:"asked"`
	AskUntil  time.Time `json:"ask_until"`
	Approved  int       `json:"approved"`
	Quorum    int       `json:"quorum"`
	Mine      bool      `json:"mine"`
	CanDecide bool      `json:"can_decide"`
	WhyNot    string    `json:"why_not,omitempty"`
}

func toJSON(p backend.Approval) jsonApproval {
	return jsonApproval{
		ID: string(p.ID), State: string(p.State), Operator: p.Operator, Target: p.Target, Kind: p.Kind, As: p.As,
		Argv: p.Argv, Env: p.Env, Cwd: p.Cwd, Stdin: p.Stdin, Tier: p.Tier, Reason: p.Reason, Asked: p.Asked, AskUntil: p.AskUntil,
		Approved: p.Approved, Quorum: p.Quorum, Mine: p.Mine, CanDecide: p.CanDecide, WhyNot: p.WhyNot,
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
	return sanitize.Argv(p.Argv)
}

func (a *app) approvalsList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what waits for approval, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			rows := []jsonApproval{}
			t := newTable(a.stdout, "ID", "WHO", "WHERE", "LEFT", "YOU", "WHAT")
			for p, err := range b.Pending(cmd.Context()) {
				if err != nil {
					return err
				}
				rows = append(rows, toJSON(p))
				you := "may decide"
				switch {
				case p.Mine:
					you = "asked"
				case !p.CanDecide:
					you = "may not"
				}
				t.row(sanitize.Clean(string(p.ID)), sanitize.Clean(p.Operator), sanitize.Clean(p.Target),
					sanitize.Clean(until(p.AskUntil, time.Now())), sanitize.Literal(you), what(p))
			}
			if asJSON {
				return writeJSON(a.stdout, rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(a.stderr, "nothing waits for approval")
				return nil
			}
			return t.flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// find gives the waiting approval with this id, or with the one id that begins so.
func find(ctx context.Context, b backend.Approver, id string) (backend.Approval, error) {
	var found []backend.Approval
	for p, err := range b.Pending(ctx) {
		if err != nil {
			return backend.Approval{}, err
		}
		if id != "" && strings.HasPrefix(string(p.ID), id) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return backend.Approval{}, fmt.Errorf("%w: no approval %s waits; `tucdesk approvals list` shows what does", backend.ErrNotFound, sanitize.Clean(id))
	case 1:
		return found[0], nil
	}
	return backend.Approval{}, fmt.Errorf("%d approvals begin with %s; give more of the id", len(found), sanitize.Clean(id))
}

// print shows an approval whole. Nothing is cut: who signs must have seen the end.
func (a *app) print(p backend.Approval) {
	line := func(k string, v sanitize.Text) {
		if !v.IsZero() {
			fmt.Fprintf(a.stdout, "%-10s %s\n", k, v)
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
	line("tier", sanitize.Clean(p.Tier))
	line("reason", sanitize.Clean(p.Reason))
	line("approved", sanitize.Clean(fmt.Sprintf("%d of %d", p.Approved, p.Quorum)))
	line("decide by", sanitize.Clean(fmt.Sprintf("%s (%s left)", p.AskUntil.Format(time.DateTime), until(p.AskUntil, time.Now()))))
	line("you", sanitize.Clean(p.WhyNot))
}

func (a *app) approvalsShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one approval whole", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			p, err := find(cmd.Context(), b, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, toJSON(p))
			}
			a.print(p)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) approvalsDecide(approve bool) *cobra.Command {
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
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			p, err := find(cmd.Context(), b, args[0])
			if err != nil {
				return err
			}
			a.print(p)
			if approve && !yes {
				if !a.isTerminal() {
					return errors.New("approving needs a terminal to read the request in, or --yes")
				}
				// For high risk a single key is too little: the target's name
				// is typed.
				word := p.Target
				fmt.Fprintf(a.stderr, "sign this? type the target's name (%s): ", sanitize.Clean(word))
				var answer string
				if _, err := fmt.Fscanln(a.stdin, &answer); err != nil || answer != word {
					return errors.New("not approved: the target's name was not typed")
				}
			}
			if err := b.Decide(cmd.Context(), p.ID, backend.Decision{Approve: approve, Reason: reason}); err != nil {
				return err
			}
			if approve {
				fmt.Fprintln(a.stdout, "approved")
			} else {
				fmt.Fprintln(a.stdout, "denied")
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
