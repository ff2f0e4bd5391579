package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/crash"
	"github.com/tucdesk/tucdesk/tui/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check what this device needs: clock, servers, UDP, token, roster, versions", Args: cobra.NoArgs,
		Long: "Check what this device needs to reach its team. Each line says what to do next.\n" +
			"Exit code 0: nothing fails. 1: something does.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []doctor.Finding
			if b, err := a.control(); err != nil {
				found = doctor.Home(err)
			} else {
				defer b.Close()
				found = doctor.Examine(cmd.Context(), b)
			}
			if home, err := profile.DefaultDir(); err == nil {
				found = append(found, doctor.Crashes(crash.List(home))...)
			}
			if asJSON {
				if err := writeJSON(a.stdout, found); err != nil {
					return err
				}
			} else {
				for _, f := range found {
					fmt.Fprintf(a.stdout, "%-4s  %-16s %s\n", strings.ToUpper(string(f.State)), f.Name, sanitize.Clean(f.Text))
					if f.Next != "" {
						fmt.Fprintf(a.stdout, "      %-16s -> %s\n", "", sanitize.Clean(f.Next))
					}
				}
			}
			if !doctor.Healthy(found) {
				return &exitError{1}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
