package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

func (a *app) rosterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "roster", Short: "Who is in the team, as its admins have signed it", Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.rosterShow())
	cmd.AddCommand(a.membership().Roster()...)
	return cmd
}

func (a *app) rosterShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show", Short: "Show the team's devices and machines with their keys", Args: cobra.NoArgs,
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
			type entry struct {
				What  string    `json:"what"` // member or agent
				Name  string    `json:"name"`
				Roles []string  `json:"roles,omitempty"`
				Admin bool      `json:"admin,omitempty"`
				Kid   key.Kid   `json:"kid"`
				Exp   time.Time `json:"exp"`
			}
			var rows []entry
			for _, d := range r.Devices() {
				rows = append(rows, entry{"member", d.Email, d.Roles, d.Admin, d.Kid, d.Exp})
			}
			for _, m := range r.Agents() {
				rows = append(rows, entry{"agent", m.Name, nil, false, m.Kid, m.Exp})
			}
			if asJSON {
				return writeJSON(a.stdout, struct {
					TeamFP    string      `json:"team_fp"`
					Words     string      `json:"words"`
					TeamID    string      `json:"team_id"`
					Head      roster.Head `json:"head"`
					Threshold int         `json:"threshold"`
					Policy    uint64      `json:"policy_version"`
					Entries   []entry     `json:"entries"`
				}{r.TeamFP().String(), contact.TeamWords(r.TeamFP()).String(), r.TeamID(), r.Head(), r.Threshold(), r.PolicyVersion(), rows})
			}
			fmt.Fprintf(a.stdout, "team %s, fingerprint %s\nits words are: %s\nstatement %d, policy version %d, %d admin signature(s) widen power\n\n",
				sanitize.Clean(r.TeamID()), r.TeamFP(), contact.TeamWords(r.TeamFP()), r.Head().Seq, r.PolicyVersion(), r.Threshold())
			t := newTable(a.stdout, "WHAT", "NAME", "ROLES", "KEY", "VALID UNTIL")
			for _, e := range rows {
				roles := ""
				for i, role := range e.Roles {
					if i > 0 {
						roles += " "
					}
					roles += role
				}
				t.row(sanitize.Literal(e.What), sanitize.Clean(e.Name), sanitize.Clean(roles),
					sanitize.Clean(e.Kid.String()), sanitize.Clean(e.Exp.Format(time.DateOnly)))
			}
			return t.flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
