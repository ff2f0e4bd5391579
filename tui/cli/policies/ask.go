package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/advice"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

// A question is what the flags of check, explain, who-can and what-can ask.
type question struct {
	member, as, at, session, file string
	breakGlass, asJSON            bool
}

func (c *CLI) flags(cmd *cobra.Command, q *question) {
	f := cmd.Flags()
	f.StringVar(&q.as, "as", "", "user on the target")
	f.StringVar(&q.at, "at", "", "ask for this time (RFC 3339)")
	f.StringVar(&q.session, "session", "", "kind of session: shell, exec, copy, forward, proxy, observe, join (default: shell, or exec with a command)")
	f.StringVar(&q.file, "file", "", "ask this policy file instead of the policy in force")
	f.BoolVar(&q.breakGlass, "break-glass", false, "ask for a session without apid's grant")
	f.BoolVar(&q.asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("session", cobra.FixedCompletions(kindNames(), cobra.ShellCompDirectiveNoFileComp))
}

// wordsHelp says how to ask about what is no command.
const wordsHelp = "What copies, forwards and proxies reach is asked for in the command's place:\n" +
	"  --session copy -- from /var/log/syslog     (or to; -r after it for a directory)\n" +
	"  --session forward -- db.internal:5432\n" +
	"  --session proxy -- localhost:22"

func kindNames() []string {
	var names []string
	for _, k := range policy.Kinds() {
		names = append(names, string(k))
	}
	return names
}

// kinds gives the kinds that a question is about. None given means the ones in
// unsaid.
func (q *question) kinds(argv []string, unsaid ...policy.Kind) ([]policy.Kind, error) {
	switch {
	case q.session != "" && !slices.Contains(kindNames(), q.session):
		return nil, fmt.Errorf("--session %s: there are %s", sanitize.Clean(q.session), strings.Join(kindNames(), ", "))
	case len(argv) > 0 && slices.Contains([]string{string(policy.Copy), string(policy.Forward), string(policy.Proxy)}, q.session):
		return []policy.Kind{policy.Kind(q.session)}, nil
	case len(argv) > 0 && q.session != "" && q.session != string(policy.Exec):
		return nil, fmt.Errorf("--session %s has no command, and reaches nothing that could be named; leave one of them out", q.session)
	case len(argv) > 0:
		return []policy.Kind{policy.Exec}, nil
	case q.session != "":
		return []policy.Kind{policy.Kind(q.session)}, nil
	}
	return unsaid, nil
}

// A hearing is a question with the team that it is asked about.
type hearing struct {
	*question
	roster *roster.Roster
	self   roster.Device
	snap   *policy.Snapshot
	at     time.Time
	argv   []string
}

// hear opens the team and runs do with it. own says that the question may be about
// who asks.
func (c *CLI) hear(ctx context.Context, q *question, argv []string, own bool, do func(*hearing) error) error {
	at, err := parseTime(q.at)
	if err != nil {
		return err
	}
	b, r, err := c.team(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	h := &hearing{question: q, roster: r, snap: r.Snapshot(), at: at, argv: argv}
	if q.file != "" {
		doc, err := c.Read(q.file, roster.MaxPolicy)
		if err != nil {
			return err
		}
		if h.snap, err = r.WithPolicy(doc); err != nil {
			return fmt.Errorf("%s: %w", q.file, err)
		}
	}
	if own && q.member == "" {
		if h.self, err = r.Device(b.Home().Identity.Kid(), time.Now()); err != nil {
			return err
		}
	}
	return do(h)
}

func (h *hearing) request(who roster.Device, on roster.Agent, kind policy.Kind) *policy.Request {
	req := h.roster.Request(who, on, kind, h.as, nil, h.at)
	if len(h.argv) > 0 {
		req.Argv = h.argv
	}
	req.BreakGlass = h.breakGlass
	return req
}

// person finds a member by e-mail, through one of their devices.
func person(r *roster.Roster, email string) (roster.Device, error) {
	for _, d := range r.Devices() {
		if strings.EqualFold(d.Email, email) {
			return d, nil
		}
	}
	return roster.Device{}, fmt.Errorf("no member of the team has the e-mail %s; `tucdesk roster show` lists them", sanitize.Clean(email))
}

func target(r *roster.Roster, name string) (roster.Agent, error) {
	a, err := r.AgentNamed(name, time.Now())
	if err != nil {
		return a, fmt.Errorf("%w: %w; `tucdesk agents` lists them", backend.ErrNotFound, err)
	}
	return a, nil
}

// check asks the policy about a request; explain adds how it came to its answer,
// and what would change it.
func (c *CLI) check(explain bool) *cobra.Command {
	q := &question{}
	use, short := "check TARGET [-- COMMAND…]", "What would policy answer? Exit 0 for allow and confirm, 126 for hold and deny"
	if explain {
		use, short = "explain TARGET [-- COMMAND…]", "Why would policy answer so: which entries were looked at, what each said, and what would change it"
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.Target, Long: short + ".\n\n" + wordsHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			kinds, err := q.kinds(args[1:], policy.Shell)
			if err != nil {
				return err
			}
			return c.hear(cmd.Context(), q, args[1:], true, func(h *hearing) error {
				agent, err := target(h.roster, args[0])
				if err != nil {
					return err
				}
				who := h.self
				if q.member != "" {
					if who, err = person(h.roster, q.member); err != nil {
						return err
					}
				}
				req := h.request(who, agent, kinds[0])
				x := policy.Explain(req, h.snap)
				var ways []advice.Way
				if explain {
					ways = advice.Ways(req, h.snap, targetsOf(h.roster))
				}
				if q.asJSON {
					err = output.JSON(c.Out, verdictJSON(x, ways, explain))
				} else {
					c.printVerdict(x, ways, explain)
				}
				if err != nil || x.Verdict.Effect >= policy.Confirm {
					return err
				}
				return c.Exit(exitDenied)
			})
		},
	}
	cmd.Flags().StringVar(&q.member, "member", "", "ask for this member (e-mail) instead of yourself")
	_ = cmd.RegisterFlagCompletionFunc("member", c.completeMember)
	c.flags(cmd, q)
	return cmd
}

type jsonVerdict struct {
	Effect    string             `json:"effect"`
	Rule      string             `json:"rule,omitempty"`
	Line      int                `json:"line,omitempty"`
	Tier      string             `json:"tier,omitempty"`
	Reason    string             `json:"reason"`
	Approvers []string           `json:"approvers,omitempty"`
	Quorum    int                `json:"quorum,omitempty"`
	Entries   []policy.EntryNote `json:"entries,omitempty"`
	Commands  []jsonCommand      `json:"commands,omitempty"`
	Ways      []jsonWay          `json:"would_change_it,omitempty"`
}

type jsonCommand struct {
	Command string   `json:"command"`
	Via     []string `json:"via,omitempty"`
	Tier    string   `json:"tier"`
	Rule    string   `json:"rule"`
	Line    int      `json:"line,omitempty"`
	Pattern string   `json:"pattern,omitempty"`
	Why     string   `json:"why,omitempty"`
}

type jsonWay struct {
	Changes []jsonChange `json:"changes"`
	Effect  string       `json:"effect"`
	Rule    string       `json:"rule"`
	Line    int          `json:"line,omitempty"`
}

type jsonChange struct {
	Part string `json:"part"` // as, session, at, target, role, tag
	To   string `json:"to"`
}

func verdictJSON(x policy.Explanation, ways []advice.Way, explain bool) jsonVerdict {
	v := x.Verdict
	out := jsonVerdict{Effect: v.Effect.String(), Rule: v.Rule, Line: v.Line, Tier: v.Tier, Reason: v.Reason, Approvers: v.Obligations.Approvers, Quorum: v.Obligations.Quorum}
	if !explain {
		return out
	}
	out.Entries = x.Entries
	for _, n := range x.Commands {
		out.Commands = append(out.Commands, jsonCommand{n.Command.String(), n.Via, n.Tier, n.Rule, n.Line, n.Pattern, n.Why})
	}
	for _, w := range ways {
		way := jsonWay{Effect: w.Verdict.Effect.String(), Rule: w.Verdict.Rule, Line: w.Verdict.Line}
		for _, ch := range w.Changes {
			way.Changes = append(way.Changes, jsonChange{ch.Part.String(), ch.To})
		}
		out.Ways = append(out.Ways, way)
	}
	return out
}

func (c *CLI) printVerdict(x policy.Explanation, ways []advice.Way, explain bool) {
	fmt.Fprintf(c.Out, "%s: %s\n", x.Verdict.Effect, sanitize.Clean(x.Verdict.Reason))
	if !explain {
		return
	}
	for _, e := range x.Entries {
		why := "covers the request"
		if !e.Matched {
			why = e.Why
		}
		fmt.Fprintf(c.Out, "  %s %s (line %d): %s\n", e.List, sanitize.Clean(e.Rule), e.Line, sanitize.Clean(why))
	}
	for _, n := range x.Commands {
		fmt.Fprintf(c.Out, "  command %s: %s", n.Command, sanitize.Clean(n.Tier))
		if len(n.Via) > 0 {
			fmt.Fprintf(c.Out, ", started by %s", sanitize.Clean(strings.Join(n.Via, ", ")))
		}
		if n.Pattern != "" {
			fmt.Fprintf(c.Out, ", by %s (line %d), pattern %q", sanitize.Clean(n.Rule), n.Line, sanitize.Clean(n.Pattern))
		}
		if n.Why != "" {
			fmt.Fprintf(c.Out, ": it %s", sanitize.Clean(n.Why))
		}
		fmt.Fprintln(c.Out)
	}
	if len(ways) > 0 {
		fmt.Fprintln(c.Out, "what would change it:")
	}
	for _, w := range ways {
		fmt.Fprintf(c.Out, "  %s: %s by %s (line %d)\n", sanitize.Clean(w.String()), w.Verdict.Effect, sanitize.Clean(w.Verdict.Rule), w.Verdict.Line)
	}
}

// An answer is a row of who-can and what-can: a member or a machine, and what policy
// says of each kind.
type answer struct {
	Name     string                `json:"name"`
	Verdicts map[string]jsonAnswer `json:"sessions"`
}

type jsonAnswer struct {
	Effect string `json:"effect"`
	Rule   string `json:"rule,omitempty"`
	Line   int    `json:"line,omitempty"`
	Tier   string `json:"tier,omitempty"`
	Reason string `json:"reason"`
}

func (c *CLI) whoCan() *cobra.Command {
	q := &question{}
	var all bool
	cmd := &cobra.Command{
		Use: "who-can TARGET [-- COMMAND…]", Short: "Who may do what on a machine", Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.Target,
		Long: "Say for every member what policy would answer on a machine, for every kind of session, one kind (--session) or one command.\n\n" + wordsHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			kinds, err := q.kinds(args[1:], policy.Kinds()...)
			if err != nil {
				return err
			}
			return c.hear(cmd.Context(), q, args[1:], false, func(h *hearing) error {
				agent, err := target(h.roster, args[0])
				if err != nil {
					return err
				}
				var rows []answer
				seen := map[string]bool{}
				for _, d := range h.roster.Devices() {
					if !seen[d.MemberID] {
						seen[d.MemberID] = true
						rows = h.add(rows, d.Email, d, agent, kinds, all)
					}
				}
				return c.answers("MEMBER", rows, kinds, q.asJSON)
			})
		},
	}
	c.flags(cmd, q)
	cmd.Flags().BoolVar(&all, "all", false, "also those who may do nothing")
	return cmd
}

func (c *CLI) whatCan() *cobra.Command {
	q := &question{}
	var all bool
	cmd := &cobra.Command{
		Use: "what-can MEMBER [-- COMMAND…]", Short: "What a member may do, and on which machines", Args: cobra.MinimumNArgs(1),
		Long: "Say for every machine what policy would answer a member (an e-mail), for every kind of session, one kind (--session) or one command.\n\n" + wordsHelp,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return c.completeMember(cmd, args, prefix)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			kinds, err := q.kinds(args[1:], policy.Kinds()...)
			if err != nil {
				return err
			}
			return c.hear(cmd.Context(), q, args[1:], false, func(h *hearing) error {
				who, err := person(h.roster, args[0])
				if err != nil {
					return err
				}
				var rows []answer
				for _, agent := range h.roster.Agents() {
					rows = h.add(rows, agent.Name, who, agent, kinds, all)
				}
				return c.answers("TARGET", rows, kinds, q.asJSON)
			})
		},
	}
	c.flags(cmd, q)
	cmd.Flags().BoolVar(&all, "all", false, "also machines on which they may do nothing")
	return cmd
}

// add adds a row, unless everything in it is denied and not all were asked for.
func (h *hearing) add(rows []answer, name string, who roster.Device, on roster.Agent, kinds []policy.Kind, all bool) []answer {
	row := answer{name, map[string]jsonAnswer{}}
	for _, kind := range kinds {
		v := policy.Evaluate(h.request(who, on, kind), h.snap)
		all = all || v.Effect != policy.Deny
		row.Verdicts[string(kind)] = jsonAnswer{v.Effect.String(), v.Rule, v.Line, v.Tier, v.Reason}
	}
	if !all {
		return rows
	}
	return append(rows, row)
}

func (c *CLI) answers(head string, rows []answer, kinds []policy.Kind, asJSON bool) error {
	slices.SortFunc(rows, func(a, b answer) int { return strings.Compare(a.Name, b.Name) })
	if asJSON {
		return output.JSON(c.Out, append([]answer{}, rows...))
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.Err, "nothing is allowed; --all shows why for each")
		return nil
	}
	columns := []string{head}
	for _, k := range kinds {
		columns = append(columns, strings.ToUpper(string(k)))
	}
	one := len(kinds) == 1
	if one {
		columns = append(columns, "WHY")
	}
	t := output.NewTable(c.Out, columns...)
	for _, r := range rows {
		cells := []sanitize.Text{sanitize.Clean(r.Name)}
		for _, k := range kinds {
			cells = append(cells, sanitize.Clean(r.Verdicts[string(k)].Effect))
		}
		if one {
			cells = append(cells, sanitize.Clean(r.Verdicts[string(kinds[0])].Reason))
		}
		t.Row(cells...)
	}
	return t.Flush()
}

// completeMember completes e-mails from the roster on disk, without the network.
func (c *CLI) completeMember(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	b, err := c.Open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer b.Close()
	var emails []string
	for _, d := range b.Home().Roster().Devices() {
		if strings.HasPrefix(d.Email, prefix) && !slices.Contains(emails, d.Email) {
			emails = append(emails, d.Email)
		}
	}
	return emails, cobra.ShellCompDirectiveNoFileComp
}
