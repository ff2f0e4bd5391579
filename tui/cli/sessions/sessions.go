// Package sessions is the part of the command line about terminals that run, whoever is
// in front of them: list them, leave one, come back to one.
//
// Invariants: what a terminal had shown passes an emulator of ours before it reaches the
// terminal of who comes back, so that no query of old is answered into the shell; names
// that came from a network pass internal/sanitize.
//
// It must not import a service.
package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/backend/control/sessions"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

// completeIn bounds how long a completion asks.
const completeIn = 3 * time.Second

// A CLI makes commands with what it has. All fields are required.
type CLI struct {
	Out, Err io.Writer
	Open     func() (*control.Backend, error) // the team of this home
	// Run opens a terminal and carries bytes until its end, by a way (see --path).
	Run    func(ctx context.Context, req backend.OpenRequest, way string) error
	Person func() bool // somebody is at this terminal
}

// row is a session as `ps` lists it. apid knows when it began and must end, and never
// what runs in it.
type row struct {
	Session  string     `json:"session"`
	Target   string     `json:"target"`
	Kind     string     `json:"kind"`
	Note     string     `json:"note,omitempty"` // what protects it less than a shell
	Gate     string     `json:"gate,omitempty"` // a shell's level of the exec gate, as its machine has said when it began
	As       string     `json:"as,omitempty"`
	State    string     `json:"state"`
	Owner    string     `json:"owner,omitempty"` // the member whose it is
	Observe  bool       `json:"observe"`         // policy lets you see it: `observe`
	Join     bool       `json:"join"`            // and type in it: `join`
	Device   key.Kid    `json:"device"`
	Here     bool       `json:"here"`     // this device has begun it
	Attached bool       `json:"attached"` // somebody is at it, as far as its machine knows
	Detached *time.Time `json:"detached,omitempty"`
	Until    *time.Time `json:"until,omitempty"` // if nobody comes
	Returns  bool       `json:"returns"`         // `attach` can be asked for it
	Started  time.Time  `json:"started"`
	EndsBy   time.Time  `json:"ends_by"`
}

// PS gives the command that lists sessions.
func (c *CLI) PS() *cobra.Command {
	var asJSON, all, ended bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List your sessions that are live, on all of your devices",
		Long: "List your sessions that are live, on all of your devices, as apid knows them from what machines have signed:\n" +
			"also those whose client is gone or has left, which a machine keeps for the time that policy calls grace.\n" +
			"`tucdesk attach` brings one back. apid does not know what runs in them.\n" +
			"GATE is the level at which program starts inside a shell are judged: enforced, line, advisory or none.\n" +
			"--all adds the shells of others that policy lets you observe or join; for auditors, everybody's sessions.\n\n" +
			"--json prints an array, empty where nothing runs. Each session has session, target, kind, as, owner, device, gate and\n" +
			"state; here, attached and returns; detached and until while nobody is at it; observe and join, whether you may;\n" +
			"started and ends_by. Times are RFC 3339 in UTC.",
		Example: "  tucdesk ps --all --json | jq -r '.[] | select(.observe) | .session'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := c.Open()
			if err != nil {
				return err
			}
			defer b.Close()
			rows, err := c.list(cmd.Context(), b, all, ended)
			if err != nil {
				return err
			}
			if asJSON {
				return output.JSON(c.Out, rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(c.Err, "tucdesk: no live sessions")
				return nil
			}
			now := time.Now()
			t := output.NewTable(c.Out, "SESSION", "TARGET", "KIND", "GATE", "AS", "OWNER", "STATE", "SINCE", "AT MOST UNTIL", "NOTE")
			for _, r := range rows {
				t.Row(sanitize.Clean(r.Session), sanitize.Clean(r.Target), sanitize.Clean(r.Kind), sanitize.Clean(r.Gate), sanitize.Clean(r.As), sanitize.Clean(r.Owner), sanitize.Clean(r.words(now)),
					sanitize.Clean(r.Started.Local().Format(time.DateTime)), sanitize.Clean(r.EndsBy.Local().Format(time.DateTime)), sanitize.Clean(r.Note))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, "also shells of others that you may watch; for auditors: everybody's sessions")
	cmd.Flags().BoolVar(&ended, "ended", false, "also those that were granted and never began, or have ended")
	return cmd
}

// words says how a session stands.
func (r *row) words(now time.Time) string {
	s := r.State
	switch {
	case r.Until != nil:
		s = fmt.Sprintf("detached, %s left", max(r.Until.Sub(now), 0).Round(time.Second))
	case r.Attached:
		s = "attached"
	}
	switch {
	case r.Join:
		s += " (you may observe or join)"
		if !r.Observe {
			s = strings.Replace(s, "observe or ", "", 1)
		}
	case r.Observe:
		s += " (you may observe)"
	case !r.Here:
		s += " (another device)"
	}
	return s
}

func (c *CLI) list(ctx context.Context, b *control.Backend, all, ended bool) ([]row, error) {
	page, err := b.Client().Sessions(ctx)
	if err != nil {
		return nil, err
	}
	r := b.Home().Roster()
	self := b.Home().Identity.Kid()
	me, _ := r.EverDevice(self)
	running := map[string]backend.Session{}
	for _, s := range sessions.Running(page, r, me, time.Now()) {
		running[string(s.ID)] = s
	}
	watchable := map[string]backend.Session{}
	for _, s := range sessions.Watchable(page, r, me, time.Now()) {
		watchable[string(s.ID)] = s
	}
	names := map[key.Kid]string{}
	for _, m := range r.Agents() {
		names[m.Kid] = m.Name
	}
	rows := []row{}
	for _, s := range page.Sessions {
		if d, ok := r.EverDevice(s.Operator); (!ok || d.MemberID != me.MemberID) && !all || s.State != "started" && !ended {
			continue
		}
		name := names[s.Target]
		if name == "" {
			name = s.Target.String() // a machine that was removed
		}
		one := row{
			Session: s.ID.String(), Target: name, Kind: s.Kind, Note: backend.Kind(s.Kind).Ungated(), Gate: s.Gate, As: s.As, State: s.State, Device: s.Operator, Here: s.Operator == self,
			Attached: s.State == "started" && s.Away == 0, Started: time.Unix(s.Started, 0).UTC(), EndsBy: time.Unix(s.EndsBy, 0).UTC(),
		}
		if d, ok := r.EverDevice(s.Operator); ok {
			one.Owner = d.Email
		}
		one.Observe, one.Join = watchable[one.Session].Observe, watchable[one.Session].Join
		if known, ok := running[one.Session]; ok {
			one.Returns = known.Returns
			if !known.Away.IsZero() {
				away, until := known.Away.UTC(), known.Until.UTC()
				one.Detached, one.Until = &away, &until
			}
		}
		rows = append(rows, one)
	}
	return rows, nil
}

// Attach gives the command that comes back to a terminal.
func (c *CLI) Attach() *cobra.Command {
	var way string
	cmd := &cobra.Command{
		Use:   "attach [SESSION]",
		Short: "Come back to a shell of yours that runs, also from another device",
		Long: "Come back to a shell of yours that runs: one that was left (Enter ~ & in `tucdesk connect`), whose client is\n" +
			"gone, or that another client has, which is told. SESSION is what `tucdesk ps` shows, or how it begins; without\n" +
			"it the one that nobody is at, if it is the only one. The machine asks policy again, and keeps a record. What the\n" +
			"shell has shown last is drawn again; a shell that was left ends when policy's grace time is over.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.choose(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			return c.Run(cmd.Context(), backend.OpenRequest{Target: s.Target, Kind: s.Kind, As: s.As, Session: s.ID, TTY: true}, way)
		},
		ValidArgsFunction: c.complete,
	}
	cmd.Flags().StringVar(&way, "path", "auto", "auto: by relay, then directly when that works; relay; direct")
	return cmd
}

// sessions asks for those that can be come back to.
func (c *CLI) sessions(ctx context.Context) (can, others []backend.Session, err error) {
	b, err := c.Open()
	if err != nil {
		return nil, nil, err
	}
	defer b.Close()
	all, err := b.Sessions(ctx)
	for _, s := range all {
		if s.Returns {
			can = append(can, s)
		} else {
			others = append(others, s)
		}
	}
	return can, others, err
}

func (c *CLI) choose(ctx context.Context, prefix string) (backend.Session, error) {
	can, others, err := c.sessions(ctx)
	if err != nil {
		return backend.Session{}, err
	}
	return choose(can, others, prefix)
}

// choose finds the one session that is meant.
func choose(can, others []backend.Session, prefix string) (backend.Session, error) {
	var found []backend.Session
	for _, s := range can {
		if strings.HasPrefix(string(s.ID), prefix) && (prefix != "" || !s.Away.IsZero()) {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1 && prefix == "":
		return backend.Session{}, fmt.Errorf("%d of your shells wait: name one; `tucdesk ps` lists them", len(found))
	case len(found) > 1:
		return backend.Session{}, fmt.Errorf("%d sessions begin with %q; write more of it", len(found), prefix)
	case prefix == "":
		return backend.Session{}, errors.New("no shell of yours waits; `tucdesk ps` lists what runs, and `tucdesk attach SESSION` takes one from another client")
	}
	for _, s := range others {
		if strings.HasPrefix(string(s.ID), prefix) {
			return backend.Session{}, fmt.Errorf("%w: that session can't be come back to: only a shell can, and where policy allows it now and gives it a grace time", backend.ErrDenied)
		}
	}
	return backend.Session{}, fmt.Errorf("%w: no session of yours that runs begins with %q; `tucdesk ps` lists them", backend.ErrNotFound, prefix)
}

func (c *CLI) complete(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeIn)
	defer cancel()
	can, _, _ := c.sessions(ctx)
	var out []string
	for _, s := range can {
		if strings.HasPrefix(string(s.ID), prefix) {
			out = append(out, fmt.Sprintf("%s\t%s, since %s", s.ID, sanitize.Clean(string(s.Target)), s.Began.Local().Format(time.TimeOnly)))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
