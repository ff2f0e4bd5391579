// Package auditlog reads the team's audit log as a member's device does: each entry is
// checked against the roster before it is shown, and a command is opened where it was
// sealed to this device.
//
// Invariants: apid's word counts for nothing but how long the log is said to be; an entry
// that does not verify is handed on as just that. It must not import a service or a screen.
package auditlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/playback"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// API is the part of wire.Client that is needed.
type API interface {
	playback.API
	Entries(ctx context.Context, from uint64, n int) (wire.EntriesPage, error)
}

// An Auditor is a device that reads the log. It implements backend.Auditor.
type Auditor struct {
	API  API
	With key.Unsealer // opens what is sealed to this device
	// Sync gives the newest roster. With an error that wraps backend.ErrUnavailable it
	// gives the one that is known.
	Sync func(context.Context) (*roster.Roster, error)
	// Seen is what this device has seen of the log, and Told what a roster says of it.
	Seen *checkpointfile.File
	Told func(*roster.Roster) checkpointfile.Log
	// Translate makes the seam's errors of apid's.
	Translate func(error) error
}

var _ backend.Auditor = Auditor{}

// known gives the newest roster that is to be had.
func (a Auditor) known(ctx context.Context) (*roster.Roster, error) {
	r, err := a.Sync(ctx)
	if errors.Is(err, backend.ErrUnavailable) {
		err = nil
	}
	return r, err
}

// Log implements backend.Auditor.
func (a Auditor) Log(ctx context.Context, from uint64, n int) (backend.LogPage, error) {
	r, err := a.known(ctx)
	if err != nil {
		return backend.LogPage{}, err
	}
	n = max(1, min(n, wire.MaxEntries))
	page, err := a.API.Entries(ctx, from, n)
	if err != nil {
		return backend.LogPage{}, a.Translate(err)
	}
	if len(page.Entries) > n || len(page.Entries) > 0 && page.From != from {
		return backend.LogPage{}, fmt.Errorf("auditlog: apid answers with %d entries from %d on, not with at most %d from %d on", len(page.Entries), page.From, n, from)
	}
	out := backend.LogPage{Size: page.Size}
	for i, raw := range page.Entries {
		out.Entries = append(out.Entries, entry(r, a.With, from+uint64(i), raw))
	}
	return out, nil
}

// Recording implements backend.Auditor.
func (a Auditor) Recording(ctx context.Context, session string) (backend.Recording, error) {
	id, err := token.ParseID(session)
	if err != nil {
		return nil, fmt.Errorf("auditlog: %q is not a session: %w", session, err)
	}
	r, err := a.known(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := playback.Open(ctx, a.API, r, a.With, id)
	if err != nil {
		return nil, a.Translate(err)
	}
	return rec.Seam(), nil
}

// entry verifies one entry before it tells anything of it.
func entry(r *roster.Roster, with key.Unsealer, index uint64, raw []byte) backend.LogEntry {
	v, err := verified(r, raw)
	if err != nil {
		return backend.LogEntry{Index: index, Problem: err.Error()}
	}
	e := v.Entry()
	out := backend.LogEntry{
		Index: index, Time: time.Unix(e.Timestamp, 0).UTC(), Type: string(e.Type), Actor: audit.NameOf(r, e.Actor.Kid), Action: e.Action,
		Signer: signer(r, v.Signer()), Team: e.TeamID, Target: audit.NameOf(r, e.Target.Kid), Effect: e.Policy.Effect, Rule: e.Policy.Rule,
		Tier: e.Command.Tier, Sealed: len(e.Command.Sealed) > 0, Exit: int(e.Outcome.Exit), Signal: e.Outcome.Signal,
		Reason: e.Outcome.Reason, Recorded: !e.Outcome.Recording.IsZero(),
		BreakGlass: e.BreaksGlass(),
	}
	if e.TeamFP != r.TeamFP() {
		return backend.LogEntry{Index: index, Problem: "it is of another team"}
	}
	if err := e.CheckNames(r); err != nil {
		return backend.LogEntry{Index: index, Problem: err.Error()}
	}
	if !e.SessionID.IsZero() {
		out.Session = e.SessionID.String()
	}
	if note := backend.Kind(e.Action).Ungated(); note != "" && e.Type == audit.SessionStart {
		out.Reason = strings.TrimPrefix(out.Reason+"; "+note, "; ")
	}
	if plain, err := with.Open(e.Command.Sealed, token.MaxCommand); err == nil {
		var c token.Command
		if envelope.Unmarshal(plain, &c) == nil && c.Commitment() == e.Command.Commitment {
			out.Argv = c.Argv
			if c.Runbook != nil {
				out.Runbook = c.Runbook.String()
			}
		} else if rep, err := filecopy.ParseReport(plain); err == nil {
			out.Reason += "; copied: " + rep.String()
			for _, f := range rep.Files {
				out.Copied = append(out.Copied, backend.CopiedFile{Name: f.Name, Size: f.Size, SHA256: f.SHA256.String()})
			}
		}
	}
	return out
}

// signer names a key as the roster does: the roster's word, not the entry's.
func signer(r *roster.Roster, k key.Kid) string {
	if a, ok := r.EverAgent(k); ok {
		return "machine " + a.Name
	}
	if d, ok := r.EverDevice(k); ok {
		return "a device of " + d.Email
	}
	return "key " + k.Short() + " of the servers"
}

// Prove implements backend.Auditor: it checks an entry's signature, its place in the log,
// and that log against what this device has seen of it.
func (a Auditor) Prove(ctx context.Context, index uint64) ([]backend.Check, error) {
	r, err := a.known(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := a.API.LogProof(ctx, index)
	if err != nil {
		return nil, a.Translate(err)
	}
	p, err := audit.ParseProof(raw)
	if err != nil {
		return nil, fmt.Errorf("auditlog: what apid answered is no proof: %w", err)
	}
	var out []backend.Check
	say := func(err error, holds string, args ...any) bool {
		c := backend.Check{Holds: err == nil, What: fmt.Sprintf(holds, args...)}
		if err != nil {
			c.What = "NOT proved: " + c.What + ": " + err.Error()
		}
		out = append(out, c)
		return err == nil
	}
	v, err := verified(r, p.Entry)
	if err == nil {
		say(nil, "signed by %s, by a key that the roster has", signer(r, v.Signer()))
	} else {
		say(err, "signed by a key that the roster has")
	}
	c, err := p.Check(r.TeamFP(), r.LogKeys()...)
	if err == nil && p.Index != int64(index) {
		err = fmt.Errorf("the proof is of entry %d", p.Index)
	}
	if !say(err, "entry %d is in the log, by a checkpoint that the team's log key has signed", index) {
		return out, nil
	}
	seen := checkpointfile.Seen{Note: p.Checkpoint, Run: len(r.Restarts()), From: "apid"}
	say(a.Seen.Meet(ctx, a.Told(r), seen), "that log, of %d entries, has only grown since this device saw it first", c.Size)
	return out, nil
}

func verified(r *roster.Roster, raw []byte) (audit.VerifiedEntry, error) {
	u, err := audit.ParseEntry(raw)
	if err != nil {
		return audit.VerifiedEntry{}, err
	}
	return u.Verify(r.Key)
}
