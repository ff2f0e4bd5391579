package membership

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/team"
)

func (c *CLI) pair() *cobra.Command {
	var (
		m    team.Machine
		tags []string
		wait time.Duration
	)
	cmd := &cobra.Command{
		Use:   "pair KEY --name NAME --tag K=V",
		Short: "Add the machine whose agent shows this pairing key (admins)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := contact.ParseKey(args[0])
			if err != nil {
				return err
			}
			if m.Name == "" {
				return errors.New("give --name: what the machine is called in the team")
			}
			if m.Tags, err = parseTags(tags); err != nil {
				return err
			}
			return c.admin(func(a *team.Admin) error {
				agent, err := a.Pair(cmd.Context(), k, m, wait)
				if err != nil {
					return err
				}
				c.added(agent)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.Name, "name", "", "the machine's name in the team")
	f.StringArrayVar(&tags, "tag", nil, "a tag, KEY=VALUE; may be repeated")
	f.StringVar(&m.LoginUser, "login-user", "", "whom sessions run as unless policy says otherwise (default: what the agent proposes)")
	f.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the agent")
	return cmd
}

func (c *CLI) added(a roster.Agent) {
	fmt.Fprintf(c.Out, "%s, key %s, login user %s, valid until %s\n", sanitize.Clean(a.Name), a.Kid, sanitize.Clean(a.LoginUser), a.Exp.Format(time.DateOnly))
}

func (c *CLI) enrollToken() *cobra.Command {
	var (
		names, user string
		tags        []string
		uses        uint64
		life        time.Duration
	)
	cmd := &cobra.Command{
		Use:   "enroll-token --tag K=V --max-uses N --for 1h",
		Short: "Make a token with which machines of a fleet enrol (admins and enrollers)",
		Long: "The token goes to the machines, which run `tucdesk-agent enroll --token`. Their keys are signed here, on this\n" +
			"device, by `tucdesk enroll serve`, which must run while they enrol: no server can add a machine.\n" +
			"Whoever has the token can add a machine with its tags, as often as it says: hand it over like a password.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := parseTags(tags)
			if err != nil {
				return err
			}
			return c.admin(func(a *team.Admin) error {
				token, err := a.NewToken(cmd.Context(), names, t, user, uses, life)
				if err != nil {
					return err
				}
				text, err := token.Text()
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Err, "for %d machine(s) whose names begin with %s, until %s; now run: tucdesk enroll serve\n",
					token.MaxUses, sanitize.Clean(token.Names), time.Unix(token.Exp, 0).Format(time.DateTime))
				_, err = fmt.Fprintln(c.Out, text)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&names, "names", "", "how the machines' names begin (default: what the delegation says)")
	f.StringVar(&user, "login-user", "", "whom sessions run as unless policy says otherwise (default: what the delegation says)")
	f.StringArrayVar(&tags, "tag", nil, "a tag of the machines, KEY=VALUE; may be repeated")
	f.Uint64Var(&uses, "max-uses", 1, "how many machines")
	f.DurationVar(&life, "for", time.Hour, "how long it is valid; at most an hour")
	return cmd
}

func (c *CLI) enroll() *cobra.Command {
	cmd := &cobra.Command{Use: "enroll", Short: "The enroller's side of a fleet's tokens", Args: cobra.NoArgs}
	cmd.AddCommand(&cobra.Command{
		Use: "serve", Short: "Add the machines that come with this device's tokens, until these are over", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.admin(func(a *team.Admin) error { return a.Serve(cmd.Context(), c.added) })
		},
	})
	return cmd
}
