package membership

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/tui/team"
)

// A CLI makes commands that read, write and open with what it has. All fields are
// required.
type CLI struct {
	In       io.Reader
	Out, Err io.Writer
	Open     func() (*control.Backend, error) // the team of this home
	Dir      func() (string, error)           // TUCDESK_HOME
}

// Commands gives the commands at the top.
func (c *CLI) Commands() []*cobra.Command {
	return []*cobra.Command{c.login(), c.profile(), c.pair(), c.enrollToken(), c.enroll()}
}

// Roster gives the commands under roster that change it.
func (c *CLI) Roster() []*cobra.Command {
	return []*cobra.Command{c.add(), c.remove(), c.rotate(), c.delegate(), c.threshold(), c.pending(), c.Cosign(), c.withdraw()}
}

// Sign makes one statement on top of the newest roster and says its number.
func (c *CLI) Sign(ctx context.Context, kind roster.Kind, body func(*roster.Roster) (any, error)) error {
	return c.admin(func(a *team.Admin) error {
		r, err := a.Sign(ctx, func(r *roster.Roster) ([]roster.Change, error) {
			b, err := body(r)
			return []roster.Change{{Kind: kind, Body: b}}, err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "signed as statement %d\n", r.Head().Seq)
		return nil
	})
}

// admin runs do with the team of this home.
func (c *CLI) admin(do func(*team.Admin) error) error {
	b, err := c.Open()
	if err != nil {
		return err
	}
	defer b.Close()
	err = do(&team.Admin{Control: b, Tell: c.tell})
	var proposed *team.ProposedError
	if errors.As(err, &proposed) {
		t := proposed.Short()
		if proposed.Proposal.Restarts() {
			text, terr := proposed.Proposal.Text()
			fmt.Fprintf(c.Err, "tucdesk: %d of %d admins have signed; hand this over: another admin runs tucdesk roster sign FILE\n", t.Have, t.Need)
			fmt.Fprintln(c.Out, text)
			return terr
		}
		_, err = fmt.Fprintf(c.Out, "proposed as %s: %d of %d admins have signed\nanother admin runs: tucdesk roster sign %s\n", proposed.ID, t.Have, t.Need, short(proposed.ID))
	}
	return err
}

// short is as much of a proposal's id as people type.
func short(id token.ID) string { return id.String()[:8] }

func (c *CLI) tell(s sanitize.Text) { fmt.Fprintf(c.Err, "tucdesk: %s\n", s) }

// ask asks a person for a yes. Nobody there is a no.
func (c *CLI) ask(question string) (bool, error) {
	fmt.Fprintf(c.Err, "%s [type yes] ", question)
	line, err := bufio.NewReader(io.LimitReader(c.In, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return strings.TrimSpace(line) == "yes", nil
}

// confirmServers shows the servers' keys.
func (c *CLI) confirmServers(yes bool) func(wire.ServerInfo) (bool, error) {
	return func(info wire.ServerInfo) (bool, error) {
		fmt.Fprintf(c.Err, "These servers would serve the team. Compare their keys with what `tucdesk-apid keys init` or `tucdesk up` has printed:\n  api         %s\n  rendezvous  %s\n",
			sanitize.Clean(info.URL), sanitize.Clean(info.Rendezvous))
		for _, k := range info.Keys {
			fmt.Fprintf(c.Err, "  %-11s %s\n", sanitize.Clean(k.Purpose), k.Key)
		}
		for _, r := range info.Relays {
			fmt.Fprintf(c.Err, "  relay       %s\n", sanitize.Clean(r))
		}
		if yes {
			return true, nil
		}
		return c.ask("Are these your servers' keys?")
	}
}

// parseTags reads KEY=VALUE.
func parseTags(text []string) (map[string]string, error) {
	tags := map[string]string{}
	for _, s := range text {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--tag: %q is not of the form KEY=VALUE", s)
		}
		if _, twice := tags[k]; twice {
			return nil, fmt.Errorf("--tag: %q twice", k)
		}
		tags[k] = v
	}
	return tags, nil
}
