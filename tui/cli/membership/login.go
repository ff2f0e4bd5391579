package membership

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/words"
	"github.com/tucdesk/tucdesk/tui/team"
)

func (c *CLI) login() *cobra.Command {
	var (
		found, noWait, yes       bool
		teamID, email, teamWords string
		pins                     []string
		wait                     time.Duration
	)
	cmd := &cobra.Command{
		Use:   "login [URL]",
		Short: "Join a team with this device, or found one",
		Long: "`tucdesk login URL --email YOU` makes this device's keys and shows six words. Read them to an admin, who runs\n" +
			"`tucdesk roster add YOU --role ROLE --device \"SIX WORDS\"`. Then compare the words of the team with the admin's:\n" +
			"no server decides who is in a team, so no server can answer this for you.\n\n" +
			"`tucdesk login --found URL --team-id NAME --email YOU` founds a team whose first admin is this device.\n" +
			"URL is the API server's. With an imported profile (`tucdesk profile import`) no URL is needed.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.Dir()
			if err != nil {
				return err
			}
			hashes, err := wire.ParsePins(pins)
			if err != nil {
				return fmt.Errorf("--pin: %w", err)
			}
			url := ""
			if len(args) > 0 {
				url = args[0]
			}
			if found {
				if url == "" || teamID == "" || email == "" {
					return errors.New("founding needs the URL, --team-id and --email")
				}
				home, err := team.Found(cmd.Context(), team.Founding{
					Dir: dir, API: url, Pins: hashes, TeamID: teamID, Email: email, Confirm: c.confirmServers(yes),
				})
				if err != nil {
					return err
				}
				c.welcome(home)
				fmt.Fprintf(c.Out, "next: `tucdesk roster add` for people, `tucdesk policy set` for what they may do, `tucdesk pair` for machines\n")
				return nil
			}
			j := team.Joining{Dir: dir, API: url, Pins: hashes, Email: email, Wait: wait, Tell: c.tell}
			if noWait {
				j.Wait = 0
			}
			if teamWords != "" {
				if j.Team, err = words.Parse(teamWords); err != nil {
					return fmt.Errorf("--team: %w", err)
				}
			}
			j.Show = func(p words.Phrase) error {
				_, err := fmt.Fprintf(c.Out, "the words of this device are: %s\nan admin runs: tucdesk roster add %s --role ROLE --device %q\n", p, sanitize.Clean(email), p)
				return err
			}
			j.Confirm = func(card contact.Card) (bool, error) {
				fmt.Fprintf(c.Err, "An admin of team %s at %s has added this device, or somebody says so.\nThe words of that team are: %s\n",
					sanitize.Clean(card.TeamID), sanitize.Clean(card.API), card.Words())
				return c.ask("Does the admin see the same words?")
			}
			home, err := team.Join(cmd.Context(), j)
			if noWait && errors.Is(err, team.ErrWaiting) {
				return nil
			}
			if err != nil {
				return err
			}
			c.welcome(home)
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&found, "found", false, "found a team instead of joining one")
	f.StringVar(&teamID, "team-id", "", "name of the team to found")
	f.StringVar(&email, "email", "", "your e-mail address")
	f.StringVar(&teamWords, "team", "", "the six words of the team, as an admin has read them to you")
	f.StringArrayVar(&pins, "pin", nil, "SHA-256 (hexadecimal) of the public key (SPKI) of a server with a certificate of its own")
	f.DurationVar(&wait, "wait", 15*time.Minute, "how long to wait for an admin")
	f.BoolVar(&noWait, "no-wait", false, "show the words and end; run login again later")
	f.BoolVar(&yes, "yes", false, "with --found: the servers' keys are known to be right")
	return cmd
}

func (c *CLI) welcome(h *profile.Home) {
	who := "this device"
	if d, ok := h.Roster().EverDevice(h.Identity.Kid()); ok {
		who = d.Email
	}
	fmt.Fprintf(c.Out, "%s is in team %s, whose words are: %s\n", sanitize.Clean(who), sanitize.Clean(h.Profile.TeamID), contact.TeamWords(h.Profile.TeamFP))
}

func (c *CLI) profile() *cobra.Command {
	cmd := &cobra.Command{Use: "profile", Short: "Carry the addresses and the fingerprint of a team to another device", Args: cobra.NoArgs}
	cmd.AddCommand(c.profileExport(), c.profileImport())
	return cmd
}

func (c *CLI) profileExport() *cobra.Command {
	var draw bool
	var png string
	cmd := &cobra.Command{
		Use: "export", Short: "Print this team's profile, as text or as a QR code: no secret, and worth comparing",
		Long: "Only a device that is in the team has a profile to export: the team's fingerprint and roster head, where its servers\n" +
			"are, and their TLS keys. With --qr it is drawn on the terminal, for a device with a camera; whatever reads it gets the\n" +
			"same text. Compare the words that are printed with those that the other device shows.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			home := b.Home()
			if _, err := home.Roster().Device(home.Identity.Kid(), time.Now()); err != nil {
				return fmt.Errorf("only a device that is in the team exports its profile: %w", err)
			}
			card := home.Profile.Card(home.Roster())
			text, err := card.Text()
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Err, "team %s at %s; its words are: %s\n", sanitize.Clean(card.TeamID), sanitize.Clean(card.API), card.Words())
			if !draw && png == "" {
				_, err = fmt.Fprintln(c.Out, text)
				return err
			}
			qr, err := encode(text)
			if err != nil {
				return err
			}
			if png != "" {
				if err := qr.writePNG(png); err != nil {
					return err
				}
			}
			if draw {
				fmt.Fprintf(c.Err, "%d columns wide; make the terminal wider if it breaks\n", qr.width())
				_, err = fmt.Fprint(c.Out, qr.draw(c.colours()))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&draw, "qr", false, "draw a QR code on the terminal")
	cmd.Flags().StringVar(&png, "png", "", "write a QR code into this file, which must not be there yet")
	return cmd
}

// colours reports whether the output is a terminal that may be coloured.
func (c *CLI) colours() bool {
	f, ok := c.Out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}

func (c *CLI) profileImport() *cobra.Command {
	var teamWords string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take a team's profile (- for standard input), once its words are compared; connects to nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := c.Dir()
			if err != nil {
				return err
			}
			in := c.In
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			} else if teamWords == "" {
				return errors.New("a profile from standard input needs --team: nobody can be asked")
			}
			b, err := io.ReadAll(io.LimitReader(in, 16<<10))
			if err != nil {
				return err
			}
			card, err := contact.ParseCard(string(b))
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Err, "team        %s\napi         %s\nrendezvous  %s\nits words   %s\n",
				sanitize.Clean(card.TeamID), sanitize.Clean(card.API), sanitize.Clean(card.Rendezvous), card.Words())
			if teamWords != "" {
				p, err := words.Parse(teamWords)
				if err != nil {
					return fmt.Errorf("--team: %w", err)
				}
				if p != card.Words() {
					return errors.New("the profile is of another team than --team names; nothing was imported")
				}
			} else if yes, err := c.ask("Does the device that exported it show the same words and hosts?"); err != nil || !yes {
				return errors.Join(team.ErrNotConfirmed, err)
			}
			if err := profile.Import(dir, card); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.Out, "imported; `tucdesk login --email YOU` asks to join")
			return err
		},
	}
	cmd.Flags().StringVar(&teamWords, "team", "", "the six words that the profile must have")
	return cmd
}
