package newcomer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// pairTime is how long a pairing key is good.
const pairTime = 15 * time.Minute

// Commands gives `pair` and `enroll`. dir is the default folder.
func Commands(dir string) []*cobra.Command {
	return []*cobra.Command{pairCommand(dir), enrollCommand(dir)}
}

func (o *Options) flags(cmd *cobra.Command, dir string) {
	cmd.Flags().StringVar(&o.Dir, "dir", dir, "folder of the agent")
	cmd.Flags().StringVar(&o.Name, "name", "", "name that the agent proposes (default: the host's)")
	o.Tell = func(s sanitize.Text) { fmt.Fprintf(cmd.ErrOrStderr(), "tucdesk-agent: %s\n", s) }
}

// joined says what was done, and what to do next.
func joined(w io.Writer, a contact.Answer, dir string) {
	fmt.Fprintf(w, "this machine is %s of team %s, whose words are: %s\nstart the agent: tucdesk-agent --dir %s (or its service)\n",
		sanitize.Clean(a.Name), sanitize.Clean(a.Card.TeamID), a.Card.Words(), sanitize.Clean(dir))
}

func pairCommand(dir string) *cobra.Command {
	var (
		o       Options
		pins    []string
		keyFile string
	)
	cmd := &cobra.Command{
		Use:   "pair API-URL",
		Short: "Show a pairing key, and wait until an admin has typed it into `tucdesk pair`",
		Long: "Makes this agent's keys if they are missing, shows a pairing key, and waits for the admin who types it.\n" +
			"The key names this agent's own keys and holds a secret: show it to the admin only. It is good for\n" +
			"fifteen minutes, for this one agent. The agent takes no other team than the one of who has the secret.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			hashes, err := wire.ParsePins(pins)
			if err != nil {
				return fmt.Errorf("newcomer: --pin: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), pairTime)
			defer cancel()
			a, err := Pair(ctx, o, args[0], hashes, func(text string) error {
				if keyFile != "" {
					if err := writeNew(keyFile, text+"\n"); err != nil {
						return err
					}
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nan admin runs: tucdesk pair KEY --name NAME --tag KEY=VALUE\nwaiting for fifteen minutes\n", text)
				return err
			})
			if err != nil {
				return err
			}
			joined(cmd.OutOrStdout(), a, o.Dir)
			return nil
		},
	}
	o.flags(cmd, dir)
	cmd.Flags().StringArrayVar(&pins, "pin", nil, "SHA-256 (hexadecimal) of the public key (SPKI) of a server with a certificate of its own")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "write the pairing key into this new file too")
	return cmd
}

func enrollCommand(dir string) *cobra.Command {
	var (
		o           Options
		token, file string
	)
	cmd := &cobra.Command{
		Use:   "enroll --token TOKEN",
		Short: "Join the team of a fleet's token, as soon as its enroller answers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (token == "") == (file == "") {
				return errors.New("newcomer: give --token or --token-file; `tucdesk enroll-token` makes tokens")
			}
			if file != "" {
				f, err := os.Open(file)
				if err != nil {
					return fmt.Errorf("newcomer: %w", err)
				}
				defer f.Close()
				b, err := io.ReadAll(io.LimitReader(f, 16<<10))
				if err != nil {
					return fmt.Errorf("newcomer: %w", err)
				}
				token = string(b)
			}
			t, err := contact.ParseToken(token)
			if err != nil {
				return err
			}
			a, err := Enrol(cmd.Context(), o, t)
			if err != nil {
				return err
			}
			joined(cmd.OutOrStdout(), a, o.Dir)
			return nil
		},
	}
	o.flags(cmd, dir)
	cmd.Flags().StringVar(&token, "token", "", "the token (tde1.…); other users of this machine may see it in the list of processes")
	cmd.Flags().StringVar(&file, "token-file", "", "file with the token")
	return cmd
}

// writeNew writes a file that must not be there yet, for its owner only.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("newcomer: %s is there already; nothing is overwritten", path)
	}
	if err != nil {
		return fmt.Errorf("newcomer: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
