package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "The team's audit log: follow, export, verify, prove", Args: cobra.NoArgs,
		Long: "The team's audit log. It is signed by those it is about and numbered by each of them, so that an edit\n" +
			"or a gap shows. Until witnesses are named it is signed, not tamper-evident: a server could keep two\n" +
			"logs for two readers until they compare.",
	}
	cmd.AddCommand(a.auditTail(), a.auditExport(), a.auditVerify(), a.auditProve(), a.membership().Restart())
	return cmd
}

// jsonEntry is an entry as `audit tail --json` prints it, one on a line.
type jsonEntry struct {
	Index     uint64    `json:"index"`
	Time      time.Time `json:"timestamp"`
	Type      string    `json:"type"`
	Actor     string    `json:"actor"`
	Action    string    `json:"action"`
	TeamID    string    `json:"team_id"`
	Target    string    `json:"target,omitempty"`
	SessionID string    `json:"session_id,omitempty"`
	Effect    string    `json:"effect,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	Tier      string    `json:"tier,omitempty"`
	Argv      []string  `json:"argv,omitempty"` // only where this device may open it
	Runbook   string    `json:"runbook,omitempty"`
	Sealed    bool      `json:"sealed,omitempty"`
	Exit      int       `json:"exit"`
	Signal    string    `json:"signal,omitempty"`
	Reason    string    `json:"reason,omitempty"`

	BreakGlass bool         `json:"break_glass,omitempty"`
	Copied     []jsonCopied `json:"copied,omitempty"` // the first files of a copy
}

// jsonCopied is a file that was copied; without a name it is what the copy's start names.
type jsonCopied struct {
	Name   string `json:"name"`
	Size   uint64 `json:"size"`
	SHA256 string `json:"sha256"`
}

func (a *app) auditTail() *cobra.Command {
	var (
		asJSON, follow bool
		count          int
	)
	cmd := &cobra.Command{
		Use: "tail", Short: "Print the newest entries (auditors and admins)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			ctx := cmd.Context()
			from, err := tailStart(ctx, b, count)
			if err != nil {
				return err
			}
			for {
				page, err := b.Log(ctx, from, wire.MaxEntries)
				if err != nil {
					return err
				}
				for _, e := range page.Entries {
					if err := a.printEntry(e, asJSON); err != nil {
						return err
					}
				}
				from += uint64(len(page.Entries))
				if len(page.Entries) > 0 && from < page.Size {
					continue
				}
				if !follow {
					return nil
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(time.Second):
				}
			}
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one entry on a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.Flags().IntVarP(&count, "lines", "n", 20, "how many entries; 0 for all")
	return cmd
}

// tailStart gives the index of the entry that is count from the end.
func tailStart(ctx context.Context, b backend.Auditor, count int) (uint64, error) {
	if count < 0 {
		return 0, errors.New("-n must not be negative")
	}
	if count == 0 {
		return 0, nil
	}
	page, err := b.Log(ctx, 0, 1)
	if err != nil {
		return 0, err
	}
	return page.Size - min(page.Size, uint64(count)), nil
}

// printEntry prints an entry that verifies, and fails at one that does not.
func (a *app) printEntry(e backend.LogEntry, asJSON bool) error {
	if e.Problem != "" {
		return fmt.Errorf("entry %d does not verify: %s; export the log and run `tucdesk audit verify`", e.Index, e.Problem)
	}
	out := jsonEntry{
		Index: e.Index, Time: e.Time, Type: e.Type, Actor: e.Actor, Action: e.Action, TeamID: e.Team, Target: e.Target, SessionID: e.Session,
		Effect: e.Effect, Rule: e.Rule, Tier: e.Tier, Argv: e.Argv, Runbook: e.Runbook, Sealed: e.Sealed, Exit: e.Exit, Signal: e.Signal, Reason: e.Reason,
	}
	out.BreakGlass = e.BreakGlass
	for _, f := range e.Copied {
		out.Copied = append(out.Copied, jsonCopied(f))
	}
	if asJSON {
		return output.JSONLine(a.stdout, out)
	}
	mark := ""
	if e.BreakGlass {
		mark = "BREAK-GLASS "
	}
	line := mark + fmt.Sprintf("%d %s %s %s %s", out.Index, out.Time.Format("2006-01-02 15:04:05"), sanitize.Clean(out.Type),
		sanitize.Clean(out.Actor), sanitize.Clean(out.Action))
	for _, f := range []struct {
		name string
		text sanitize.Text
	}{
		{"target", sanitize.Clean(out.Target)}, {"effect", sanitize.Clean(out.Effect)}, {"rule", sanitize.Clean(out.Rule)},
		{"tier", sanitize.Clean(out.Tier)}, {"reason", sanitize.Clean(out.Reason)}, {"signal", sanitize.Clean(out.Signal)},
	} {
		if !f.text.IsZero() {
			line += " " + f.name + "=" + f.text.String()
		}
	}
	switch {
	case out.Argv != nil:
		line += " command: " + sanitize.Argv(out.Argv).String()
		if out.Runbook != "" {
			line += " runbook: " + sanitize.Clean(out.Runbook).String()
		}
	case out.Sealed:
		line += " (command sealed to others)"
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

func (a *app) auditExport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export [-o FILE]", Short: "Write the whole log into one file that verifies offline (auditors and admins)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			if out == "" || out == "-" {
				if a.isTerminal() {
					return errors.New("an export is binary; name a file with -o, or use a pipe")
				}
				return b.Client().Export(cmd.Context(), a.stdout)
			}
			if err := writeWhole(out, func(w io.Writer) error { return b.Client().Export(cmd.Context(), w) }); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "written to %s; check it with: tucdesk audit verify %s --team-fp %s\n", out, out, b.Home().Profile.TeamFP)
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default: standard output)")
	return cmd
}

func (a *app) auditVerify() *cobra.Command {
	var (
		fp, prev string
		maxAge   time.Duration
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "verify FILE --team-fp FINGERPRINT",
		Short: "Check an export offline; trusts the team's fingerprint and nothing else",
		Long: "Check an export offline. Nothing in the file is trusted but what follows from the team's fingerprint.\n" +
			"Exit code 0: sound. 1: tampered with. 2: incomplete (gaps, or older than --max-age). 3: not an export.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := func(err error) error {
				fmt.Fprintf(a.stderr, "tucdesk: %s\n", sanitize.Clean(err.Error()))
				return &exitError{3}
			}
			if fp == "" {
				return bad(errors.New("--team-fp is needed: the fingerprint that you know of your team, not one from the file"))
			}
			pin, err := envelope.ParseHash(fp)
			if err != nil {
				return bad(err)
			}
			opts := audit.Options{MaxAge: maxAge, Now: time.Now()}
			if prev != "" {
				if opts.Previous, err = readFile(prev, audit.MaxCheckpoint); err != nil {
					return bad(err)
				}
			}
			f, err := os.Open(args[0])
			if err != nil {
				return bad(err)
			}
			defer f.Close()
			report, err := audit.Verify(f, pin, opts)
			if err != nil {
				return bad(err)
			}
			if asJSON {
				if err := writeJSON(a.stdout, report); err != nil {
					return err
				}
				return verifyExit(report)
			}
			for _, p := range report.Problems {
				fmt.Fprintf(a.stdout, "%s\n", sanitize.Clean(p.String()))
			}
			if report.More > 0 {
				fmt.Fprintf(a.stdout, "… and %d more\n", report.More)
			}
			fmt.Fprintf(a.stdout, "%s: team %s, %d entries by %d signers, %d operator proofs, %d decisions, roster statement %d, newest entry %s\n",
				report.Class(), sanitize.Clean(report.TeamID), report.Entries, report.Signers, report.Proofs, report.Decisions,
				report.Head.Seq, report.Newest.UTC().Format(time.RFC3339))
			if report.Demo {
				fmt.Fprintln(a.stdout, "note: this is a demo's team")
			}
			return verifyExit(report)
		},
	}
	cmd.Flags().StringVar(&fp, "team-fp", "", "the team's fingerprint (64 hexadecimal digits)")
	cmd.Flags().StringVar(&prev, "prev", "", "a checkpoint from an earlier look: the export must extend it")
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "how old the newest entry may be")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) auditProve() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "prove INDEX",
		Short: "Print a proof that an entry is in the log (C2SP tlog-proof), or check one with --check FILE",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			r, err := b.Sync(cmd.Context())
			if err != nil && !errors.Is(err, backend.ErrUnavailable) {
				return err
			}
			if check {
				return a.checkProof(r, args[0])
			}
			index, err := strconv.ParseUint(args[0], 10, 62)
			if err != nil {
				return errors.New("name an entry by its number, as `tucdesk audit tail` shows it")
			}
			p, err := fetchProof(cmd.Context(), b.Client(), index)
			if err != nil {
				return err
			}
			if _, err := p.Check(r.TeamFP(), r.ServerKeys(roster.ServerLog)...); err != nil {
				return fmt.Errorf("what apid answered does not prove entry %d: %w", index, err)
			}
			_, err = a.stdout.Write(p.Marshal())
			return err
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "INDEX is a file with a proof: check it against the roster on this device")
	return cmd
}

func (a *app) checkProof(r *roster.Roster, path string) error {
	raw, err := readFile(path, 1<<20)
	if err != nil {
		return err
	}
	p, err := audit.ParseProof(raw)
	if err != nil {
		return err
	}
	c, err := p.Check(r.TeamFP(), r.ServerKeys(roster.ServerLog)...)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "entry %d is in the log of %d entries that the team's log key has signed\n", p.Index, c.Size)
	return nil
}

// fetchProof gets the proof of one entry. It is not checked yet.
func fetchProof(ctx context.Context, c *wire.Client, index uint64) (audit.Proof, error) {
	raw, err := c.LogProof(ctx, index)
	if err != nil {
		return audit.Proof{}, err
	}
	p, err := audit.ParseProof(raw)
	if err == nil && p.Index != int64(index) {
		err = fmt.Errorf("apid proved entry %d, not %d", p.Index, index)
	}
	return p, err
}
