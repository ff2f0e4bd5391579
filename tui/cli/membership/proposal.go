package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/tui/cli/output"
	"github.com/tucdesk/tucdesk/tui/team"
)

// jsonPending is a proposal in --json.
type jsonPending struct {
	ID     token.ID   `json:"id"`
	What   []string   `json:"what"`  // one line for each statement
	Words  [][]string `json:"words"` // all that each would do
	Have   int        `json:"have"`
	Need   int        `json:"need"`
	Signed []string   `json:"signed"`
	Mine   bool       `json:"mine"`
}

func asJSON(p team.Pending) jsonPending {
	t := p.Short()
	out := jsonPending{ID: p.ID, Words: p.Words, Have: t.Have, Need: t.Need, Signed: append([]string{}, p.Signed...), Mine: p.Mine}
	for _, w := range p.Words {
		out.What = append(out.What, w[0])
	}
	return out
}

func (c *CLI) pending() *cobra.Command {
	var asText, inJSON bool
	cmd := &cobra.Command{
		Use:   "pending [ID]",
		Short: "Changes of the roster that wait for more admins' signatures (admins)",
		Long: "Where the team's threshold is more than one, a change waits until so many admins have signed the same bytes.\n" +
			"It is good for the roster as it is: another statement that comes first overtakes it, and it is proposed again.\n" +
			"With an id, all that it would do is shown; --text prints it for `tucdesk roster sign FILE`, where apid is not to carry it.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asText && len(args) == 0 {
				return errors.New("--text needs the id of one proposal")
			}
			return c.admin(func(a *team.Admin) error {
				if len(args) > 0 {
					p, err := a.Find(cmd.Context(), args[0])
					if err != nil {
						return err
					}
					return c.showOne(p, asText, inJSON)
				}
				list, overtaken, err := a.Pending(cmd.Context())
				if err != nil {
					return err
				}
				for _, id := range overtaken {
					fmt.Fprintf(c.Err, "tucdesk: proposal %s was overtaken by another statement; propose it again if it is still wanted\n", id)
				}
				return c.showAll(list, inJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asText, "text", false, "print the proposal itself, for a file")
	cmd.Flags().BoolVar(&inJSON, "json", false, "print JSON")
	return cmd
}

func (c *CLI) showAll(list []team.Pending, inJSON bool) error {
	if inJSON {
		out := []jsonPending{}
		for _, p := range list {
			out = append(out, asJSON(p))
		}
		return c.json(out)
	}
	if len(list) == 0 {
		fmt.Fprintln(c.Err, "nothing waits for signatures")
		return nil
	}
	w := tabwriter.NewWriter(c.Out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSIGNED\tBY\tWHAT")
	for _, p := range list {
		t := p.Short()
		what := p.Words[0][0]
		if n := len(p.Words); n > 1 {
			what += fmt.Sprintf(", and %d more", n-1)
		}
		fmt.Fprintf(w, "%s\t%d of %d\t%s\t%s\n", short(p.ID), t.Have, t.Need, sanitize.Clean(strings.Join(p.Signed, " ")), sanitize.Clean(what))
	}
	return w.Flush()
}

func (c *CLI) showOne(p team.Pending, asText, inJSON bool) error {
	switch {
	case asText:
		text, err := p.Proposal.Text()
		if err == nil {
			_, err = fmt.Fprintln(c.Out, text)
		}
		return err
	case inJSON:
		return c.json(asJSON(p))
	}
	c.words(c.Out, p)
	return nil
}

// words shows all that a proposal would do.
func (c *CLI) words(w io.Writer, p team.Pending) {
	t := p.Short()
	fmt.Fprintf(w, "proposal %s: %d of %d admins have signed (%s)\n", p.ID, t.Have, t.Need, sanitize.Clean(strings.Join(p.Signed, " ")))
	for _, lines := range p.Words {
		for i, line := range lines {
			indent := "    "
			if i == 0 {
				indent = "  - "
			}
			fmt.Fprintf(w, "%s%s\n", indent, sanitize.Clean(line))
		}
	}
}

func (c *CLI) json(v any) error {
	e := json.NewEncoder(c.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Cosign gives the command that signs what another admin has proposed.
func (c *CLI) Cosign() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "sign ID|FILE",
		Short: "Read a proposed change of the roster, and sign it (admins)",
		Long: "Shows all that would be signed, from the very bytes, and asks. With this signature the change holds, or waits for\n" +
			"further admins. FILE is what `tucdesk roster pending ID --text` has printed.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			which, err := proposalText(args[0])
			if err != nil {
				return err
			}
			return c.admin(func(a *team.Admin) error {
				p, err := a.Find(cmd.Context(), which)
				if err != nil {
					return err
				}
				c.words(c.Err, p)
				for _, v := range a.Home().Roster().Revisions(p.Proposal) {
					fmt.Fprintf(c.Err, "what changes in the %s:\n", sanitize.Clean(v.What))
					output.Text(c.Err, output.Diff("in force", v.Old, "proposed", v.New))
				}
				if !yes {
					if ok, err := c.ask("Sign this?"); err != nil || !ok {
						return errors.Join(team.ErrNotConfirmed, err)
					}
				}
				r, done, err := a.Cosign(cmd.Context(), p)
				if err != nil || !done {
					return err
				}
				_, err = fmt.Fprintf(c.Out, "signed, and it holds as statement %d\n", r.Head().Seq)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "sign without a question: what it does is known")
	return cmd
}

// proposalText gives the content of a file, or the argument itself where there is none.
func proposalText(arg string) (string, error) {
	f, err := os.Open(arg)
	if errors.Is(err, os.ErrNotExist) {
		return arg, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, roster.MaxProposalText+1))
	if err != nil {
		return "", err
	}
	if _, err := roster.ParseProposal(string(b)); err != nil {
		return "", fmt.Errorf("%s: %w", arg, err)
	}
	return string(b), nil
}

func (c *CLI) withdraw() *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw ID",
		Short: "Take a proposed change of the roster back (admins)",
		Long: "Takes it out of apid's box and of this device. Whoever has its bytes could still sign them until the next statement\n" +
			"overtakes it.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.admin(func(a *team.Admin) error {
				p, err := a.Find(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := a.Withdraw(cmd.Context(), p); err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.Out, "withdrawn: %s\n", p.ID)
				return err
			})
		},
	}
}

func (c *CLI) threshold() *cobra.Command {
	return &cobra.Command{
		Use:   "threshold K",
		Short: "Set how many admins must sign what widens power (admins)",
		Long: "With two or more, one stolen admin device can't add anybody. One admin still revokes and locks down alone.\n" +
			"Keep more admins than K: a team that has lost too many admin keys can sign nothing more.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := strconv.ParseUint(args[0], 10, 8)
			if err != nil || k == 0 {
				return fmt.Errorf("%s: want a number from 1 to the number of admins", sanitize.Clean(args[0]))
			}
			return c.Sign(cmd.Context(), roster.KindThreshold, func(*roster.Roster) (any, error) { return roster.Threshold{K: k}, nil })
		},
	}
}

// Restart gives the command under audit that lets the log go on after a restore.
func (c *CLI) Restart() *cobra.Command {
	var yes bool
	var reason string
	cmd := &cobra.Command{
		Use:   "restart --reason WHY",
		Short: "Let the audit log go on from an older state, after a restore (admins)",
		Long: "After a restore of an older state apid signs and grants nothing: its log lacks what it has signed. Restore the newest\n" +
			"backup. Only if there is none, as many admins as the threshold says sign that the entries beyond it are lost. Devices and\n" +
			"agents then go on from there, and whoever verifies the log is told of the gap. With several admins, the first gets a\n" +
			"proposal (tucdesk roster pending ID --text does not need apid) that the others sign by `tucdesk roster sign FILE`.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reason == "" {
				return errors.New("a restart needs --reason: it stands in the roster for ever")
			}
			return c.admin(func(a *team.Admin) error {
				r, err := a.Restart(cmd.Context(), reason, func(p team.Pending) (bool, error) {
					c.words(c.Err, p)
					if yes {
						return true, nil
					}
					return c.ask("Are these entries lost for good?")
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.Out, "the log goes on (statement %d); machines and devices learn it within a minute\n", r.Head().Seq)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for everyone who reads the roster")
	cmd.Flags().BoolVar(&yes, "yes", false, "restart without a question")
	return cmd
}
