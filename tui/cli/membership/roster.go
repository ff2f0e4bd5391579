package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/words"
	"github.com/tucdesk/tucdesk/tui/team"
)

func (c *CLI) add() *cobra.Command {
	var (
		roles  []string
		device string
		admin  bool
		wait   time.Duration
	)
	cmd := &cobra.Command{
		Use:   `add EMAIL --role ROLE --device "SIX WORDS"`,
		Short: "Add a member with a device, or a device to a member (admins)",
		Long: "The device runs `tucdesk login` and shows six words; hear them from its owner. Afterwards read out the words\n" +
			"of the team, which are printed: the device's owner compares them.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			phrase, err := words.Parse(device)
			if err != nil {
				return fmt.Errorf("--device: %w", err)
			}
			return c.admin(func(a *team.Admin) error {
				d, r, err := a.AddDevice(cmd.Context(), team.Member{Email: args[0], Roles: roles, Admin: admin}, phrase, wait)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Out, "%s, device %s, roles: %s, valid until %s (statement %d)\nthe words of the team are: %s\n",
					sanitize.Clean(d.Email), d.Kid.Short(), sanitize.Clean(strings.Join(d.Roles, " ")), d.Exp.Format(time.DateOnly), r.Head().Seq,
					contact.TeamWords(r.TeamFP()))
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&roles, "role", nil, "a role of the member; may be repeated")
	cmd.Flags().StringVar(&device, "device", "", "the six words that the device shows")
	cmd.Flags().BoolVar(&admin, "admin", false, "make an admin: its signature counts toward the threshold")
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the device")
	return cmd
}

func (c *CLI) remove() *cobra.Command {
	var (
		reason string
		wait   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "remove KEY|EMAIL|AGENT --reason WHY",
		Short: "Revoke keys: of a device, of all devices of a member, or of a machine (admins)",
		Long: "Agents that are online end the live sessions of a removed key within seconds. The command waits until all\n" +
			"agents have signed that they know, and names those that have not.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("revoking needs --reason: it stands in the roster for ever")
			}
			return c.admin(func(a *team.Admin) error {
				gone, r, err := a.Remove(cmd.Context(), args[0], reason)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Out, "removed: %s (statement %d)\n", sanitize.Clean(strings.Join(gone, ", ")), r.Head().Seq)
				return c.confirmations(cmd.Context(), a, r, wait)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for everyone who reads the roster")
	cmd.Flags().DurationVar(&wait, "wait", 20*time.Second, "how long to wait for the agents' confirmations")
	return cmd
}

// confirmations waits until all agents have confirmed a roster, and says how many
// have. That some have not is told and is no failure: the change stands.
func (c *CLI) confirmations(ctx context.Context, a *team.Admin, r *roster.Roster, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	count := a.Confirmations(r)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	total := len(r.Agents())
	last := -1
	for {
		n, missing, err := count.Count(ctx)
		if n == total {
			fmt.Fprintf(c.Out, "%d of %d agents have confirmed\n", n, total)
			return nil
		}
		if n != last && err == nil {
			fmt.Fprintf(c.Err, "tucdesk: %d of %d agents have confirmed\n", n, total)
			last = n
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		const most = 10
		names := strings.Join(missing[:min(len(missing), most)], " ")
		if len(missing) > most {
			names += fmt.Sprintf(" and %d more", len(missing)-most)
		}
		fmt.Fprintf(c.Out, "%d of %d agents have confirmed\n", n, total)
		fmt.Fprintf(c.Err, "tucdesk: not confirmed: %s\n  they learn it when they are back: from apid, from rendezvous, or with the next session of anyone who knows\n", sanitize.Clean(names))
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(c.Err, "tucdesk: the rendezvous could not be asked: %s\n", sanitize.Clean(err.Error()))
		}
		return nil
	}
}

func (c *CLI) rotate() *cobra.Command {
	var drop, yes bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Sign the keys and relays that the servers have now (admins)",
		Long: "Without --drop the keys that stand in the roster stay good beside the new ones. When the servers use the new\n" +
			"ones only, `tucdesk roster rotate --drop` ends the old.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.admin(func(a *team.Admin) error {
				r, err := a.RotateServers(cmd.Context(), drop, c.confirmServers(yes))
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Out, "signed as statement %d\n", r.Head().Seq)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&drop, "drop", false, "end the keys that the servers do not show any more")
	cmd.Flags().BoolVar(&yes, "yes", false, "the servers' keys are known to be right")
	return cmd
}

func (c *CLI) delegate() *cobra.Command {
	var (
		d    roster.Delegation
		tags []string
		life time.Duration
		end  bool
	)
	cmd := &cobra.Command{
		Use:   "delegate KEY --names PREFIX --tag K=PREFIX --login-user U --max N --for 720h",
		Short: "Let a device add machines of a fleet by itself, within bounds (admins)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if d.Kid, err = key.ParseKid(args[0]); err != nil {
				return fmt.Errorf("%w; `tucdesk roster show` lists the keys", err)
			}
			if d.Tags, err = parseTags(tags); err != nil {
				return err
			}
			d.Exp = time.Now().Add(life).Unix()
			if end {
				d = roster.Delegation{Kid: d.Kid}
			} else if d.Max == 0 {
				return errors.New("give --max: how many machines it may add")
			}
			return c.admin(func(a *team.Admin) error {
				r, err := a.Delegate(cmd.Context(), d)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Out, "signed as statement %d\n", r.Head().Seq)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.Names, "names", "", "how the names of its machines begin")
	f.StringArrayVar(&tags, "tag", nil, "a tag that each of its machines bears, KEY=BEGINNING; they bear no others")
	f.StringVar(&d.LoginUser, "login-user", "", "whom sessions on its machines run as unless policy says otherwise")
	f.Uint64Var(&d.Max, "max", 0, "how many machines")
	f.DurationVar(&life, "for", 30*24*time.Hour, "how long")
	f.BoolVar(&end, "end", false, "take the right back")
	return cmd
}
