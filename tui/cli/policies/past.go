package policies

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	maxEntries    = 1_000_000 // of the log that one look reads
	progressEvery = 10_000    // entries between two words about it
)

// A past is requests of the audit log: one for each session that was asked for, with
// its command where this device may open it. People and machines are described as the
// roster describes them now.
type past struct {
	since    time.Time
	roster   *roster.Roster
	unsealer key.Unsealer
	said     io.Writer

	requests []*policy.Request
	sessions map[token.ID]*session
	read     uint64 // entries
	skipped  int    // entries about people or machines that the roster never held
	cut      bool   // the log has more than is read
}

// A session is what the log says of one.
type session struct {
	request *policy.Request // nil until the entry with the proof was seen
	argv    []string
	sealed  bool // there is a command that this device can't open
}

// readPast reads the log from its end back to a time. Every entry is verified.
func readPast(ctx context.Context, b *control.Backend, r *roster.Roster, since time.Time, said io.Writer) (*past, error) {
	p := &past{since: since, roster: r, unsealer: b.Home().Unsealer, said: said, sessions: map[token.ID]*session{}}
	first, err := b.Client().Entries(ctx, 0, 1)
	if err != nil {
		return nil, fmt.Errorf("%w; auditors and admins can read the log", err)
	}
	for to := first.Size; to > 0; {
		from := to - min(to, wire.MaxEntries)
		page, err := b.Client().Entries(ctx, from, int(to-from))
		if err != nil {
			return nil, err
		}
		if page.From != from || uint64(len(page.Entries)) != to-from {
			return nil, fmt.Errorf("apid answered %d entries from %d, not the %d from %d that were asked for", len(page.Entries), page.From, to-from, from)
		}
		older := true
		for i := len(page.Entries) - 1; i >= 0; i-- {
			fresh, err := p.entry(page.Entries[i])
			if err != nil {
				return nil, fmt.Errorf("entry %d does not verify: %w; export the log and run `tucdesk audit verify`", from+uint64(i), err)
			}
			older = older && !fresh
		}
		if to = from; older {
			break
		}
		if p.cut = p.read >= maxEntries; p.cut {
			break
		}
	}
	for _, s := range p.sessions {
		if s.request != nil {
			p.requests = append(p.requests, s.request)
		}
	}
	return p, nil
}

// entry takes one entry and says whether it is new enough.
func (p *past) entry(raw []byte) (fresh bool, err error) {
	u, err := audit.ParseEntry(raw)
	if err != nil {
		return false, err
	}
	v, err := u.Verify(p.roster.Key)
	if err != nil {
		return false, err
	}
	if p.read++; p.read%progressEvery == 0 {
		fmt.Fprintf(p.said, "tucdesk: read %d entries of the log\n", p.read)
	}
	e := v.Entry()
	if time.Unix(e.Timestamp, 0).Before(p.since) {
		return false, nil
	}
	if e.SessionID.IsZero() {
		return true, nil
	}
	s := p.sessions[e.SessionID]
	if s == nil {
		s = &session{}
		p.sessions[e.SessionID] = s
	}
	switch e.Type {
	case audit.Verdict, audit.Ask:
		err = p.asked(s, e)
	case audit.Exec, audit.Refusal:
		p.command(s, e)
	}
	return true, err
}

// asked reads the operator's proof in an entry about a verdict or an ask.
func (p *past) asked(s *session, e audit.Entry) error {
	if len(e.Proof) == 0 {
		return nil
	}
	u, err := token.ParseProof(e.Proof)
	if err != nil {
		return err
	}
	signed, err := token.VerifySigned[token.Proof](u.Unverified, p.roster.Key)
	if err != nil {
		return err
	}
	proof := signed.Body()
	who, known := p.roster.EverDevice(proof.Operator)
	on, knownTarget := p.roster.EverAgent(proof.Target)
	switch {
	case proof.Act != token.ActSession && proof.Act != token.ActAsk:
		return nil
	case !known || !knownTarget:
		p.skipped++
		return nil
	}
	// What was asked for and never ran has no command in the log.
	s.sealed = s.sealed || e.Type == audit.Ask && s.argv == nil && proof.Kind == string(policy.Exec)
	s.request = p.roster.Request(who, on, policy.Kind(proof.Kind), proof.As, nil, time.Unix(proof.IAT, 0))
	s.apply()
	return nil
}

// command opens the command of an entry, if this device may.
func (p *past) command(s *session, e audit.Entry) {
	if len(e.Command.Sealed) == 0 {
		return
	}
	s.sealed = true
	plain, err := p.unsealer.Open(e.Command.Sealed, token.MaxCommand)
	if err != nil {
		return
	}
	var c token.Command
	if envelope.Unmarshal(plain, &c) == nil && c.Commitment() == e.Command.Commitment && len(c.Argv) > 0 {
		s.argv, s.sealed = c.Argv, false
		s.apply()
	}
}

// apply puts a known command into a known request.
func (s *session) apply() {
	if s.request != nil && s.request.Kind == policy.Exec && s.argv != nil {
		s.request.Argv = s.argv
	}
}

// all gives the requests.
func (p *past) all() iter.Seq2[*policy.Request, error] {
	return func(yield func(*policy.Request, error) bool) {
		for _, req := range p.requests {
			if !yield(req, nil) {
				return
			}
		}
	}
}

// String says what was read, and what could not be.
func (p *past) String() string {
	commands, sealed := 0, 0
	for _, s := range p.sessions {
		if s.request != nil && s.request.Argv != nil {
			commands++
		}
		if s.request != nil && s.request.Argv == nil && s.sealed {
			sealed++
		}
	}
	text := fmt.Sprintf("%d requests since %s, %d of them with their command", len(p.requests), p.since.UTC().Format("2006-01-02 15:04 MST"), commands)
	if sealed > 0 {
		text += fmt.Sprintf("; %d commands are sealed to others or were never run, so these requests are judged without; an auditor's device can open what ran", sealed)
	}
	if p.skipped > 0 {
		text += fmt.Sprintf("; %d entries are about nobody on the roster", p.skipped)
	}
	if p.cut {
		text += fmt.Sprintf("; only the newest %d entries were read", p.read)
	}
	return sanitize.Clean(text).String()
}
