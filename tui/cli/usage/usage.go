// Package usage is the part of the command line about what a team's sessions have used of
// relays: how many of them there were, how long they were relayed, and how many bytes.
//
// Invariants: names that came from a network pass internal/sanitize; what is read has a
// bound, and reaching it is said.
//
// It must not import a service.
package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

const (
	maxSessions   = 1_000_000 // that one look reads
	progressEvery = 20 * wire.MaxUsageRow
)

// A CLI makes the command with what it has. All fields are required.
type CLI struct {
	Out, Err io.Writer
	Open     func() (*control.Backend, error) // the team of this home
}

// A sum is what the sessions of one member, machine or day have used.
type sum struct {
	Of       string `json:"of"`
	Sessions int    `json:"sessions"`
	Relayed  int    `json:"relayed_sessions"`
	Seconds  int64  `json:"relayed_seconds"`
	Sent     uint64 `json:"sent_bytes"`     // by operators
	Received uint64 `json:"received_bytes"` // by operators, from machines
}

func (s *sum) add(u wire.SessionUsage) {
	s.Sessions++
	if u.Seconds > 0 || u.Sent+u.Received > 0 {
		s.Relayed++
	}
	s.Seconds += u.Seconds
	s.Sent += u.Sent
	s.Received += u.Received
}

// Command gives `tucdesk usage`.
func (c *CLI) Command() *cobra.Command {
	var (
		by, since string
		asJSON    bool
	)
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "What your team's sessions have used of relays, for admins and auditors",
		Long: "What your team's sessions have used of relays: how many there were, how long they were relayed, and the bytes that\n" +
			"relays say they passed on. A session that found a direct path uses little of a relay. A relay reports a session\n" +
			"when that has left it, so sessions that run count later. apid and the relays say this; nobody has signed it.",
		Example: "  tucdesk usage --since 7d\n  tucdesk usage --by day --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			length, err := output.ParseLength(since)
			if err != nil {
				return fmt.Errorf("--since %w", err)
			}
			if !slices.Contains(kinds, by) {
				return fmt.Errorf("--by %s: choose %s", sanitize.Clean(by), strings.Join(kinds, ", "))
			}
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			sums, err := c.read(cmd.Context(), b.Client().Usage, namer(b, by), time.Now().Add(-length))
			if err != nil {
				return err
			}
			if asJSON {
				return output.JSON(c.Out, sums)
			}
			return c.print(by, sums)
		},
	}
	cmd.Flags().StringVar(&by, "by", "member", "what to add up by: member, machine or day (UTC)")
	cmd.Flags().StringVar(&since, "since", "30d", "of sessions that were granted in this time, such as 30d or 12h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// kinds are what sums can be of.
var kinds = []string{"member", "machine", "day"}

// namer gives whose sum a session counts to. Members and machines that were removed keep
// their key's id.
func namer(b *control.Backend, by string) func(wire.SessionUsage) string {
	r := b.Home().Roster()
	machines := map[key.Kid]string{}
	for _, m := range r.Agents() {
		machines[m.Kid] = m.Name
	}
	return func(u wire.SessionUsage) string {
		switch by {
		case "day":
			return time.Unix(u.Started, 0).UTC().Format(time.DateOnly)
		case "machine":
			if name := machines[u.Target]; name != "" {
				return name
			}
			return u.Target.String()
		}
		if d, ok := r.EverDevice(u.Operator); ok {
			return d.Email
		}
		return u.Operator.String()
	}
}

// read adds up what page gives, from the newest session back to a time.
func (c *CLI) read(ctx context.Context, page func(context.Context, uint64) (wire.UsagePage, error), of func(wire.SessionUsage) string, since time.Time) ([]sum, error) {
	sums, seen := map[string]*sum{}, 0
	for before := uint64(0); ; {
		p, err := page(ctx, before)
		if err != nil {
			return nil, err
		}
		older := false
		for _, u := range p.Sessions {
			if older = u.Started < since.Unix(); older {
				break
			}
			name := of(u)
			if sums[name] == nil {
				sums[name] = &sum{Of: name}
			}
			sums[name].add(u)
			if seen++; seen%progressEvery == 0 {
				fmt.Fprintf(c.Err, "tucdesk: read %d sessions\n", seen)
			}
		}
		if older || p.Next == 0 {
			break
		}
		if before > 0 && p.Next >= before {
			return nil, errors.New("apid's pages do not end: it gives the same sessions again")
		}
		if before = p.Next; seen >= maxSessions {
			fmt.Fprintf(c.Err, "tucdesk: there are more than %d sessions: older ones are left out; ask for less with --since\n", maxSessions)
			break
		}
	}
	all := make([]sum, 0, len(sums))
	for _, s := range sums {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b sum) int { return strings.Compare(a.Of, b.Of) })
	return all, nil
}

func (c *CLI) print(by string, sums []sum) error {
	if len(sums) == 0 {
		fmt.Fprintln(c.Err, "tucdesk: no sessions in this time")
		return nil
	}
	t := output.NewTable(c.Out, strings.ToUpper(by), "SESSIONS", "RELAYED", "TIME", "SENT", "RECEIVED")
	total := sum{Of: "all"}
	for _, s := range sums {
		row(t, s)
		total.Sessions += s.Sessions
		total.Relayed += s.Relayed
		total.Seconds += s.Seconds
		total.Sent += s.Sent
		total.Received += s.Received
	}
	if len(sums) > 1 {
		row(t, total)
	}
	return t.Flush()
}

func row(t *output.Table, s sum) {
	cells := []string{s.Of, strconv.Itoa(s.Sessions), strconv.Itoa(s.Relayed), (time.Duration(s.Seconds) * time.Second).String(), size(s.Sent), size(s.Received)}
	clean := make([]sanitize.Text, len(cells))
	for i, cell := range cells {
		clean[i] = sanitize.Clean(cell)
	}
	t.Row(clean...)
}

// size gives bytes in the largest unit of which there is one.
func size(n uint64) string {
	units := []string{"B", "KB", "MB", "GB", "TB", "PB"}
	f := float64(n)
	for f >= 1000 && len(units) > 1 {
		f, units = f/1000, units[1:]
	}
	if f == float64(uint64(f)) || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[0])
	}
	return fmt.Sprintf("%.1f %s", f, units[0])
}
