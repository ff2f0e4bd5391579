package approval

import (
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A Plea is an Ask for a session without a server's grant: break-glass. It is
// signed under a context of its own, so that no ask is ever taken for one.
type Plea Ask

// Context implements token.Body.
func (Plea) Context() string { return "tucdesk break-glass plea v1" }

// Check implements token.Body.
func (p Plea) Check(signer key.Kid) error {
	if !p.Plan.IsZero() || p.Lasts != 0 {
		return malformed("plea: break-glass is for one machine at a time, and for as long as policy says")
	}
	return Ask(p).Check(signer)
}

// SignPlea signs p with the operator's device. It sets V.
func SignPlea(id key.Identity, p Plea) ([]byte, error) {
	p.V = token.Version
	return token.Sign(id, p)
}

// An UnverifiedPlea is a plea that nobody has checked.
type UnverifiedPlea struct{ token.Unverified }

// ParsePlea reads what SignPlea makes.
func ParsePlea(b []byte) (UnverifiedPlea, error) {
	u, err := token.Parse(b)
	return UnverifiedPlea{u}, err
}

// A VerifiedPlea is what one of the quorum is shown.
type VerifiedPlea struct{ signedPlea }

type signedPlea = token.Signed[Plea]

// Verify checks signature, form, team and times, as for an ask.
func (u UnverifiedPlea) Verify(keys token.Keys, teamFP envelope.Hash, now time.Time) (VerifiedPlea, error) {
	s, err := token.VerifySigned[Plea](u.Unverified, keys)
	if err != nil {
		return VerifiedPlea{}, err
	}
	if err := Ask(s.Body()).timely(teamFP, now); err != nil {
		return VerifiedPlea{}, err
	}
	return VerifiedPlea{s}, nil
}

// Warrant makes the warrant of exactly this plea, to be signed by approver.
func (v VerifiedPlea) Warrant(approver key.Kid, head token.Head, decided, useUntil time.Time) Warrant {
	return Warrant(Ask(v.Body()).approve(v.Hash(), approver, head, decided, useUntil))
}

// A Warrant is one person's yes to a plea: an Approval under a context of its own,
// which together with others stands in for a grant. No approval ever does.
type Warrant Approval

// Context implements token.Body.
func (Warrant) Context() string { return "tucdesk break-glass warrant v1" }

// Check implements token.Body.
func (w Warrant) Check(signer key.Kid) error {
	if w.Lasts != 0 {
		return malformed("warrant: break-glass lasts as long as policy says")
	}
	return Approval(w).Check(signer)
}

// SignWarrant signs w with the approver's device. It sets V.
func SignWarrant(id key.Identity, w Warrant) ([]byte, error) {
	w.V = token.Version
	return token.Sign(id, w)
}

// An UnverifiedWarrant is a warrant that nobody has checked.
type UnverifiedWarrant struct{ token.Unverified }

// ParseWarrant reads what SignWarrant makes.
func ParseWarrant(b []byte) (UnverifiedWarrant, error) {
	u, err := token.Parse(b)
	return UnverifiedWarrant{u}, err
}

// A VerifiedWarrant is one whose signature and form were checked. What it is worth
// for a certain request, CheckWarrants says.
type VerifiedWarrant struct{ signedWarrant }

type signedWarrant = token.Signed[Warrant]

// Verify checks signature and form. keys answers devices of the roster that are
// valid now.
func (u UnverifiedWarrant) Verify(keys token.Keys) (VerifiedWarrant, error) {
	s, err := token.VerifySigned[Warrant](u.Unverified, keys)
	return VerifiedWarrant{s}, err
}

// CheckWarrants is Check for what stands in for a grant: no grant names it, so
// want.Granted must be empty, and all warrants are of one plea.
func CheckWarrants(warrants []VerifiedWarrant, want Want) error {
	if len(want.Granted) > 0 {
		return malformed("a session has a grant or warrants, not both")
	}
	if len(warrants) == 0 {
		return fmt.Errorf("%w: no warrant was brought", ErrQuorum)
	}
	bodies := make([]Approval, len(warrants))
	for i, v := range warrants {
		bodies[i] = Approval(v.Body())
	}
	want.Granted = []token.ID{bodies[0].ID}
	return check(bodies, want)
}
