package keys

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/keyfile"
)

// Command is `tucdesk-apid keys`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Keys of the servers", Args: cobra.NoArgs,
		Long: "The keys of apid (grant, token, log), the key of rendezvousd and the secret that apid and relayd\n" +
			"share, each in a file of its own that only its owner reads. Signing keys are rotated without a gap:\n" +
			"  1. keys rotate DIR   makes the next key beside each; copy rendezvous.key.next to rendezvousd's host,\n" +
			"                       add its public side to apid's rendezvous_key, after a comma; copy\n" +
			"                       relay.secret.next to relayd's host; restart relayd, which takes both, and apid\n" +
			"  2. an admin of each team signs both: tucdesk roster rotate\n" +
			"  3. keys switch DIR   on each host; restart apid and rendezvousd\n" +
			"  4. an hour later     keys retire DIR on each host; take the old rendezvous key out of apid's\n" +
			"                       rendezvous_key; restart apid; then the admins: tucdesk roster rotate --drop\n" +
			"Sessions have what they got of the relay until they end, 12 hours at most. While relay.secret.old is on\n" +
			"relayd's host they come back after a restart of relayd: retire it there when they are over.",
	}
	for _, step := range []struct {
		use, short string
		do         func(string) error
	}{
		{"init", "Make the keys that are missing, one file per purpose, and print the public sides", Init},
		{"rotate", "Make the next key beside each key, and print the public sides", Rotate},
		{"switch", "Take the next keys into use, and keep those before as old ones", Switch},
		{"retire", "Remove the old keys", Retire},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: step.use + " DIR", Short: step.short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := step.do(args[0]); err != nil {
					return err
				}
				return show(cmd.OutOrStdout(), args[0])
			},
		})
	}
	return cmd
}

// show prints the public side of each key of a folder, and where the relay's
// secret is.
func show(w io.Writer, dir string) error {
	paths, err := present(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		for i, p := range keyfile.Beside(path) {
			if !exists(p) {
				continue
			}
			if filepath.Base(path) == RelayFile {
				fmt.Fprintf(w, "%-10s  %s%s\n", "relay", p, []string{"", "  (next)", "  (old)"}[i])
				continue
			}
			id, err := keyfile.LoadIdentity(p)
			if err != nil {
				return err
			}
			purpose := strings.TrimSuffix(filepath.Base(path), ".key")
			fmt.Fprintf(w, "%-10s  %s%s\n", purpose, id.Public(), []string{"", "  (next)", "  (old)"}[i])
		}
	}
	return nil
}
