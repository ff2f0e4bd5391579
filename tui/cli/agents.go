package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
	"github.com/tucdesk/tucdesk/tui/cli/output"
	"github.com/tucdesk/tucdesk/tui/doctor"
)

func (a *app) agentsCommand() *cobra.Command {
	var (
		asJSON bool
		tags   []string
	)
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "List the team's machines, with what policy would answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			want, err := fleet.ParseTags(tags)
			if err != nil {
				return err
			}
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			if r, err := b.Sync(cmd.Context()); err != nil {
				last, known := b.Home().LastSync()
				fmt.Fprintf(a.stderr, "tucdesk: this is the list of roster statement %d, last compared with apid %s: %s\n",
					r.Head().Seq, doctor.Age(last, known, time.Now()), sanitize.Clean(err.Error()))
			}
			type row struct {
				Name   string            `json:"name"`
				Tags   map[string]string `json:"tags"`
				State  string            `json:"state"`
				Effect string            `json:"effect"`
				Rule   string            `json:"rule,omitempty"`
				Line   int               `json:"line,omitempty"`
				Reason string            `json:"reason"`
				// Confirmed is false while the machine has not signed that it knows of
				// the newest removal of a key; left out where none was ever removed.
				Confirmed *bool `json:"confirmed,omitempty"`
			}
			rows := []row{}
			var reqs []backend.OpenRequest
			for t, err := range b.Targets(cmd.Context()) {
				if err != nil {
					return err
				}
				if !want.On(t) {
					continue
				}
				rows = append(rows, row{Name: t.Name, Tags: t.Tags, State: t.State.String()})
				reqs = append(reqs, backend.OpenRequest{Target: t.ID, Kind: backend.KindShell})
			}
			verdicts, err := b.EvaluateBatch(cmd.Context(), reqs)
			if err != nil {
				return err
			}
			for i, v := range verdicts {
				rows[i].Effect, rows[i].Rule, rows[i].Line, rows[i].Reason = v.Effect.String(), v.Rule, v.Line, v.Reason
			}
			missing, gone, err := b.Unconfirmed(cmd.Context())
			if err == nil && gone.Seq > 0 {
				unknown := map[string]bool{}
				for _, name := range missing {
					unknown[name] = true
				}
				for i := range rows {
					yes := !unknown[rows[i].Name]
					rows[i].Confirmed = &yes
				}
			}
			if asJSON {
				return writeJSON(a.stdout, rows)
			}
			if len(missing) > 0 && err == nil {
				fmt.Fprintf(a.stderr, "tucdesk: %d machine(s) have not confirmed that %s was removed; `tucdesk doctor` names them\n", len(missing), sanitize.Clean(gone.What))
			}
			if len(rows) == 0 {
				fmt.Fprintln(a.stderr, "no machine matches")
				return nil
			}
			t := newTable(a.stdout, "NAME", "STATE", "SHELL", "TAGS", "WHY")
			for _, r := range rows {
				t.row(sanitize.Clean(r.Name), sanitize.Clean(r.State), sanitize.Clean(r.Effect),
					sanitize.Clean(output.Tags(r.Tags)), sanitize.Clean(r.Reason))
			}
			return t.flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "only machines with this tag, as key=value; may be repeated")
	return cmd
}
