package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend/control/playback"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
)

func (a *app) recordingsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "recordings", Short: "What sessions showed: list, play, export (auditors)", Args: cobra.NoArgs,
		Long: "What sessions showed, recorded by the machines' agents and sealed to the team's auditors. It is opened on\n" +
			"this device, after every signature and the audit log's word about it were checked.",
	}
	cmd.AddCommand(a.recordingsList(), a.recordingsPlay(), a.recordingsExport())
	return cmd
}

// jsonRecording is a row of `recordings list --json`. It is apid's word: play and
// export check it.
type jsonRecording struct {
	Session  string    `json:"session"`
	Started  time.Time `json:"started"`
	Operator string    `json:"operator"`
	Agent    string    `json:"agent"`
	Seconds  float64   `json:"seconds"`
	Bytes    uint64    `json:"bytes"`
	Segments uint64    `json:"segments"`
	Complete bool      `json:"complete"`
}

func (a *app) recordingsList() *cobra.Command {
	var asJSON bool
	var count int
	cmd := &cobra.Command{
		Use: "list", Short: "List recordings, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.control()
			if err != nil {
				return err
			}
			defer b.Close()
			r, err := b.Sync(cmd.Context())
			if err != nil {
				return err
			}
			rows := []jsonRecording{}
			for after := ""; count <= 0 || len(rows) < count; {
				page, err := b.Client().Recordings(cmd.Context(), after)
				if err != nil {
					return err
				}
				for _, x := range page.Recordings {
					operator, _ := r.EverDevice(x.Operator)
					agent, _ := r.EverAgent(x.Agent)
					rows = append(rows, jsonRecording{
						x.SessionID.String(), time.Unix(x.Started, 0).UTC(), operator.Email, agent.Name,
						float64(x.Length) / 1000, x.Size, x.Segments, x.Final,
					})
				}
				if page.Next == "" || page.Next == after {
					break
				}
				after = page.Next
			}
			if count > 0 && len(rows) > count {
				rows = rows[:count]
			}
			if asJSON {
				return writeJSON(a.stdout, rows)
			}
			t := newTable(a.stdout, "SESSION", "STARTED", "WHO", "MACHINE", "LENGTH", "SIZE", "STATE")
			for _, x := range rows {
				state := sanitize.Literal("complete")
				if !x.Complete {
					state = sanitize.Literal("running or incomplete")
				}
				t.row(sanitize.Clean(x.Session), sanitize.Clean(x.Started.Local().Format(time.DateTime)), sanitize.Clean(x.Operator),
					sanitize.Clean(x.Agent), sanitize.Clean(seconds(x.Seconds)), sanitize.Clean(kib(x.Bytes)), state)
			}
			return t.flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVarP(&count, "lines", "n", 100, "how many recordings; 0 for all")
	return cmd
}

func seconds(s float64) string {
	return (time.Duration(s * float64(time.Second))).Round(time.Second / 10).String()
}

func kib(n uint64) string { return fmt.Sprintf("%d KiB", (n+1023)/1024) }

// openRecording fetches and verifies a recording, and says on stderr what it is.
func (a *app) openRecording(ctx context.Context, session string) (*playback.Recording, error) {
	id, err := token.ParseID(session)
	if err != nil {
		return nil, fmt.Errorf("%q is not a session: %w; `tucdesk recordings list` shows them", session, err)
	}
	b, err := a.control()
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r, err := b.Sync(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := playback.Open(ctx, b.Client(), r, b.Home().Unsealer, id)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stderr, "tucdesk: %s, %s, %s; verified", sanitize.Clean(rec.Header.Title),
		time.Unix(rec.Header.Timestamp, 0).Format(time.DateTime), rec.Length().Round(time.Second/10))
	between := ": "
	for _, c := range rec.Checks() {
		if c.Holds {
			fmt.Fprintf(a.stderr, "%s%s", between, sanitize.Clean(c.What))
			between = ", and "
		}
	}
	fmt.Fprintln(a.stderr)
	for _, c := range rec.Checks() {
		if !c.Holds {
			fmt.Fprintf(a.stderr, "tucdesk: %s\n", sanitize.Clean(c.What))
		}
	}
	return rec, nil
}

func (a *app) recordingsPlay() *cobra.Command {
	var o playback.Options
	cmd := &cobra.Command{
		Use: "play SESSION", Short: "Play a recording in this terminal", Args: cobra.ExactArgs(1),
		Long: "Play a recording. What it shows passes a parser that lets through text, colours and movement on the\n" +
			"screen; titles, clipboard, links, queries and everything else that a terminal obeys are dropped. It was\n" +
			"recorded on a screen of its own size: make yours as large.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Speed < 0 || o.IdleLimit < 0 || o.From < 0 {
				return errors.New("--speed, --idle-limit and --from are not negative")
			}
			rec, err := a.openRecording(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer rec.Close()
			if c := rec.Header.Command; c != "" {
				fmt.Fprintf(a.stderr, "tucdesk: command: %s\n", sanitize.Clean(c))
			}
			return rec.Play(cmd.Context(), a.stdout, o)
		},
	}
	cmd.Flags().Float64Var(&o.Speed, "speed", 1, "how fast: 2 is twice as fast, 0 makes no pauses")
	cmd.Flags().DurationVar(&o.IdleLimit, "idle-limit", 2*time.Second, "no pause is longer; 0: as it was")
	cmd.Flags().DurationVar(&o.From, "from", 0, "begin at this time, without what the screen held before")
	return cmd
}

func (a *app) recordingsExport() *cobra.Command {
	var out string
	var v2 bool
	cmd := &cobra.Command{
		Use: "export SESSION -o FILE", Short: "Write a recording as a plaintext asciicast file", Args: cobra.ExactArgs(1),
		Long: "Write a recording as an asciicast file, version 3, or 2 for older players (without the exit status). The\n" +
			"file is plaintext: whoever has it has read the session. Its characters are escaped, so that printing the\n" +
			"file is harmless; other players do obey what a recording holds.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return errors.New("name a file with -o; it will hold the session in plaintext")
			}
			rec, err := a.openRecording(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer rec.Close()
			return writeWhole(out, func(w io.Writer) error { return rec.Export(cmd.Context(), w, v2) })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write")
	cmd.Flags().BoolVar(&v2, "v2", false, "write asciicast version 2")
	return cmd
}

// writeWhole writes a file whole or not at all: a cut one must not take the place
// of a good one.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tucdesk-export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
