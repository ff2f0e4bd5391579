package mem

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// Auditor is the member of every world who may read its log.
const Auditor = "dora"

// A Film is a recording with its script.
type Film struct {
	backend.RecordingInfo
	Script []backend.RecordingEvent
}

// Happened adds to the world's log. Index and Signer are filled in.
func (w *World) Happened(entries ...backend.LogEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range entries {
		e.Index, e.Signer = uint64(len(w.log)), "a script"
		w.log = append(w.log, e)
	}
}

// Recorded adds the recording of a session.
func (w *World) Recorded(session string, f Film) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.films == nil {
		w.films = make(map[string]Film)
	}
	w.films[session] = f
}

// audits refuses who is not the auditor.
func (b *Backend) audits(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if b.member != Auditor {
		return backend.Verdict{Reason: "the audit log and recordings are for auditors, and you are none; ask " + Auditor}.Err()
	}
	return nil
}

// Log implements backend.Auditor.
func (b *Backend) Log(ctx context.Context, from uint64, n int) (backend.LogPage, error) {
	if err := b.audits(ctx); err != nil {
		return backend.LogPage{}, err
	}
	w := b.world
	w.mu.Lock()
	defer w.mu.Unlock()
	size := uint64(len(w.log))
	rest := w.log[min(from, size):]
	return backend.LogPage{Size: size, Entries: slices.Clone(rest[:min(len(rest), max(1, n))])}, nil
}

// Prove implements backend.Auditor. A script proves nothing.
func (b *Backend) Prove(ctx context.Context, index uint64) ([]backend.Check, error) {
	if err := b.audits(ctx); err != nil {
		return nil, err
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	if index >= uint64(len(b.world.log)) {
		return nil, fmt.Errorf("mem: entry %d: %w", index, backend.ErrNotFound)
	}
	return []backend.Check{
		{Holds: true, What: "it stands in the script of this team in memory"},
		{What: "NOT proved: a team in memory signs nothing"},
	}, nil
}

// Recording implements backend.Auditor.
func (b *Backend) Recording(ctx context.Context, session string) (backend.Recording, error) {
	if err := b.audits(ctx); err != nil {
		return nil, err
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	f, ok := b.world.films[session]
	if !ok {
		return nil, fmt.Errorf("mem: a recording of session %q: %w", session, backend.ErrNotFound)
	}
	return film(f), nil
}

type film Film

func (f film) Info() backend.RecordingInfo { return f.RecordingInfo }
func (f film) Close() error                { return nil }

func (f film) Events(ctx context.Context) iter.Seq2[backend.RecordingEvent, error] {
	return func(yield func(backend.RecordingEvent, error) bool) {
		for _, e := range f.Script {
			if err := ctx.Err(); err != nil {
				yield(e, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// pastOfDemo is what has happened in a demo's world before it is looked at.
func pastOfDemo(w *World, now time.Time) {
	now = now.Truncate(time.Second)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const shell, held = "1f0e5d3c2b1a49788776655443322110", "2a1f5d3c2b1a49788776655443322110"
	w.Happened(
		backend.LogEntry{Time: ago(61 * time.Minute), Type: "sign-in", Actor: "alice", Action: "sign-in"},
		backend.LogEntry{Time: ago(60 * time.Minute), Type: "verdict", Actor: "alice", Action: "shell", Target: "web-1", Effect: "allow", Rule: "sre-may-use-staging", Session: shell},
		backend.LogEntry{Time: ago(60 * time.Minute), Type: "session-start", Actor: "alice", Action: "shell", Target: "web-1", Session: shell},
		backend.LogEntry{Time: ago(58 * time.Minute), Type: "exec", Actor: "alice", Action: "gated", Target: "web-1", Session: shell, Effect: "confirm", Tier: "high", Sealed: true, Argv: []string{"rm", "-r", "/var/cache/app"}},
		backend.LogEntry{Time: ago(57 * time.Minute), Type: "session-end", Actor: "web-1", Action: "shell", Target: "web-1", Session: shell, Recorded: true},
		backend.LogEntry{Time: ago(30 * time.Minute), Type: "ask", Actor: "alice", Action: "exec", Target: "db-1", Effect: "hold", Rule: "prod-db-needs-two", Tier: "high", Sealed: true, Argv: []string{"pg_dump", "orders"}, Reason: "backup before the migration", Session: held},
		backend.LogEntry{Time: ago(29 * time.Minute), Type: "approval", Actor: "bob", Action: "deny", Target: "db-1", Reason: "use the nightly backup", Session: held},
		backend.LogEntry{Time: ago(10 * time.Minute), Type: "refusal", Actor: "mallory", Action: "shell", Target: "vault", Effect: "deny", Rule: "vault-is-closed", Reason: "nobody logs in to the vault"},
	)
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	w.Recorded(shell, Film{
		RecordingInfo: backend.RecordingInfo{
			Title: "alice on web-1", Cols: 80, Rows: 24, Began: ago(60 * time.Minute), Length: at(180),
			Checks: []backend.Check{{Holds: true, What: "it stands in the script of this team in memory"}},
		},
		Script: []backend.RecordingEvent{
			{At: 0, Marker: "sre-may-use-staging: allow"},
			{At: at(1), Output: "alice@web-1$ "},
			{At: at(3), Output: "df -h /var\r\nFilesystem  Size  Used Avail Use% Mounted on\r\n/dev/vda1    20G   \x1b[31m19G\x1b[0m  512M  98% /var\r\nalice@web-1$ "},
			{At: at(90), Output: "rm -r /var/cache/app\r\n"},
			{At: at(90.2), Marker: "rm -r /var/cache/app: confirmed"},
			{At: at(92), Output: "alice@web-1$ df -h /var\r\nFilesystem  Size  Used Avail Use% Mounted on\r\n/dev/vda1    20G   \x1b[32m12G\x1b[0m  7.4G  62% /var\r\nalice@web-1$ "},
			{At: at(180), Output: "exit\r\n"},
			{At: at(180), Marker: "ended with code 0"},
		},
	})
}
