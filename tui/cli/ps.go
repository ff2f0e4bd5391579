package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// sessionRow is a session as `ps` lists it. apid knows when it began and must end, and
// never what runs in it.
type sessionRow struct {
	Session string    `json:"session"`
	Target  string    `json:"target"`
	Kind    string    `json:"kind"`
	As      string    `json:"as,omitempty"`
	State   string    `json:"state"`
	Device  key.Kid   `json:"device"`
	Started time.Time `json:"started"`
	EndsBy  time.Time `json:"ends_by"`
}

func (a *app) psCommand() *cobra.Command {
	var asJSON, all, ended bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List this device's sessions that are live",
		Long: "List this device's sessions that are live, as apid knows them from what machines have signed: also those\n" +
			"whose program on this side is gone, which a machine keeps for the time that policy calls grace. apid does\n" +
			"not know what runs in them. Auditors can list those of all devices.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			page, err := b.Client().Sessions(cmd.Context())
			if err != nil {
				return err
			}
			names := map[key.Kid]string{}
			for _, m := range b.Home().Roster().Agents() {
				names[m.Kid] = m.Name
			}
			self := b.Home().Identity.Kid()
			rows := []sessionRow{}
			for _, s := range page.Sessions {
				if s.Operator != self && !all || s.State != "started" && !ended {
					continue
				}
				name := names[s.Target]
				if name == "" {
					name = s.Target.String() // a machine that was removed
				}
				rows = append(rows, sessionRow{
					Session: s.ID.String(), Target: name, Kind: s.Kind, As: s.As, State: s.State, Device: s.Operator,
					Started: time.Unix(s.Started, 0).UTC(), EndsBy: time.Unix(s.EndsBy, 0).UTC(),
				})
			}
			if asJSON {
				return writeJSON(a.stdout, rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(a.stderr, "tucdesk: no live sessions")
				return nil
			}
			t := newTable(a.stdout, "SESSION", "TARGET", "KIND", "AS", "STATE", "SINCE", "AT MOST UNTIL")
			for _, r := range rows {
				t.row(sanitize.Clean(r.Session), sanitize.Clean(r.Target), sanitize.Clean(r.Kind), sanitize.Clean(r.As), sanitize.Clean(r.State),
					sanitize.Clean(r.Started.Local().Format(time.DateTime)), sanitize.Clean(r.EndsBy.Local().Format(time.DateTime)))
			}
			return t.flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, "for auditors: of all devices")
	cmd.Flags().BoolVar(&ended, "ended", false, "also those that were granted and never began, or have ended")
	return cmd
}
