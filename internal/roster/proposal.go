package roster

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// MaxProposal bounds the statements of a Proposal.
const MaxProposal = 16

// A Proposal is one change of the roster that may still lack signatures: statements that
// follow a head one after another, and hold all or none. It is good for that head only.
type Proposal struct {
	Statements [][]byte `cbor:"statements"` // envelopes
}

// A Change is a statement before it is signed: a kind, and the body that it takes.
type Change struct {
	Kind Kind
	Body any
}

// Propose signs changes on top of this head, one after another. Whether they hold, and
// whether the signature is enough, Apply and Consider say.
func (r *Roster) Propose(at time.Time, by key.Identity, changes ...Change) (Proposal, error) {
	var p Proposal
	n := *r // whose head moves on
	n.hashes = slices.Clip(r.hashes)
	for _, c := range changes {
		st, err := n.Next(at, c.Kind, c.Body, by)
		if err != nil {
			return p, err
		}
		u, err := envelope.Parse(st)
		if err != nil {
			return p, err
		}
		n.hashes = append(n.hashes, envelope.Sum(u.InsecurePayload()))
		p.Statements = append(p.Statements, st)
	}
	return p, nil
}

// textPrefix begins a proposal as people carry it.
const textPrefix = "tdr1."

// Text gives the proposal in one line, for a file or a message; ParseProposal is its
// inverse.
func (p Proposal) Text() (string, error) {
	b, err := envelope.Marshal(p)
	if err != nil {
		return "", err
	}
	return textPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// MaxProposalText bounds the text of a proposal, in bytes.
const MaxProposalText = 512 << 10

// ParseProposal reads the text of a proposal. White space is passed over. It checks no
// signature.
func ParseProposal(s string) (p Proposal, err error) {
	if len(s) > MaxProposalText {
		return p, fmt.Errorf("%w: a proposal of more than %d characters", ErrRefused, MaxProposalText)
	}
	rest, ok := strings.CutPrefix(strings.Join(strings.Fields(s), ""), textPrefix)
	if !ok {
		return p, fmt.Errorf("%w: a proposal begins with %s", ErrRefused, textPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err == nil {
		err = envelope.Unmarshal(b, &p)
	}
	if err == nil {
		_, err = p.ID()
	}
	if err != nil {
		return Proposal{}, fmt.Errorf("%w: not a proposal, or not all of it: %w", ErrRefused, err)
	}
	return p, nil
}

// A Tally says how far a statement is: how many admins have signed, and how many must.
type Tally struct {
	Have int `json:"have"`
	Need int `json:"need"`
}

// Enough reports whether all statements of a proposal are signed by enough admins.
func Enough(tallies []Tally) bool {
	return len(tallies) > 0 && !slices.ContainsFunc(tallies, func(t Tally) bool { return t.Have < t.Need })
}

// ID names a proposal by what is signed, whoever has signed it: the first half of the
// SHA-256 of its statements' hashes.
func (p Proposal) ID() (id [16]byte, err error) {
	if n := len(p.Statements); n == 0 || n > MaxProposal {
		return id, fmt.Errorf("%w: a proposal of %d statements, want 1 to %d", ErrRefused, n, MaxProposal)
	}
	var all []byte
	for _, st := range p.Statements {
		u, err := envelope.Parse(st)
		if err != nil {
			return id, fmt.Errorf("roster: proposal: %w", err)
		}
		h := envelope.Sum(u.InsecurePayload())
		all = append(all, h[:]...)
	}
	sum := envelope.Sum(all)
	return [16]byte(sum[:16]), nil
}

// Sign adds an admin's signature to each statement that does not bear it.
func (p Proposal) Sign(by key.Identity) (Proposal, error) {
	return p.each(func(u envelope.Unverified, _ int) (envelope.Unverified, error) {
		if slices.Contains(u.Signers(), by.Kid()) {
			return u, nil
		}
		return u.AddSignature(contextStatement, by)
	})
}

// With gives the proposal with the signatures of both. q must be the same proposal.
func (p Proposal) With(q Proposal) (Proposal, error) {
	if len(p.Statements) != len(q.Statements) {
		return p, fmt.Errorf("%w: signatures of another proposal", ErrRefused)
	}
	return p.each(func(u envelope.Unverified, i int) (envelope.Unverified, error) {
		o, err := envelope.Parse(q.Statements[i])
		if err != nil {
			return u, err
		}
		return u.With(o)
	})
}

func (p Proposal) each(change func(envelope.Unverified, int) (envelope.Unverified, error)) (Proposal, error) {
	out := Proposal{Statements: make([][]byte, len(p.Statements))}
	for i, st := range p.Statements {
		u, err := envelope.Parse(st)
		if err == nil {
			u, err = change(u, i)
		}
		if err != nil {
			return p, fmt.Errorf("roster: proposal: %w", err)
		}
		out.Statements[i] = u.Bytes()
	}
	return out, nil
}

// Follows gives the head that a proposal was made for, before any check.
func (p Proposal) Follows() (Head, error) {
	if len(p.Statements) == 0 {
		return Head{}, fmt.Errorf("%w: an empty proposal", ErrRefused)
	}
	s, err := insecureStatement(p.Statements[0])
	return Head{Seq: max(s.Seq, 1) - 1, Hash: s.Prev}, err
}

// Restarts reports whether the proposal is a restart of the audit log, before any check.
func (p Proposal) Restarts() bool {
	return slices.ContainsFunc(p.Statements, func(st []byte) bool {
		s, err := insecureStatement(st)
		return err == nil && s.Kind == KindRestart
	})
}

// A Revision is a document that a proposal would put in the place of another.
type Revision struct {
	What     string
	Old, New []byte
}

// Revisions gives the documents that a proposal would change, before any check.
func (r *Roster) Revisions(p Proposal) (list []Revision) {
	for _, st := range p.Statements {
		s, err := insecureStatement(st)
		if err != nil {
			continue
		}
		var policy PolicySet
		var book RunbookSet
		switch {
		case s.Kind == KindPolicySet && envelope.Unmarshal(s.Body, &policy) == nil:
			list = append(list, Revision{"policy", r.document, policy.Document})
		case s.Kind == KindRunbookSet && envelope.Unmarshal(s.Body, &book) == nil:
			list = append(list, Revision{"runbook " + book.Name, r.runbooks[book.Name].Document, book.Document})
		}
	}
	return list
}

// Signers gives the key ids that claim to have signed a statement.
func Signers(st []byte) ([]key.Kid, error) {
	u, err := envelope.Parse(st)
	if err != nil {
		return nil, err
	}
	return u.Signers(), nil
}

func insecureStatement(st []byte) (s statement, err error) {
	u, err := envelope.Parse(st)
	if err == nil {
		err = envelope.Unmarshal(u.InsecurePayload(), &s)
	}
	if err != nil {
		return s, fmt.Errorf("roster: proposal: %w", err)
	}
	return s, nil
}

// Consider judges a proposal on top of this head as if enough admins had signed it, and
// says how many have: one Tally for each statement. It gives no roster, since nothing
// holds that is not signed. Every signature that is there is checked.
func (r *Roster) Consider(p Proposal) ([]Tally, error) {
	if _, err := p.ID(); err != nil {
		return nil, err
	}
	if on, err := p.Follows(); err != nil {
		return nil, err
	} else if on != r.Head() {
		return nil, fmt.Errorf("%w: the proposal was made for statement %d, and the roster is at %d", ErrGap, on.Seq, r.Head().Seq)
	}
	n := r.clone()
	tallies := make([]Tally, 0, len(p.Statements))
	n.considering = &tallies
	for i, st := range p.Statements {
		if err := n.applyOne(st); err != nil {
			return nil, err
		}
		if len(tallies) != i+1 {
			return nil, fmt.Errorf("%w: a statement that nobody has to sign", ErrRefused)
		}
	}
	return tallies, nil
}
