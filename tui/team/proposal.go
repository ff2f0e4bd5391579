package team

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// maxKept bounds the proposals that a home keeps.
const maxKept = 64

// A ProposedError says that a change was signed by this device and waits for more admins.
type ProposedError struct{ Pending }

func (e *ProposedError) Error() string {
	t := e.Short()
	return fmt.Sprintf("team: %d of %d admins have signed; another one runs: tucdesk roster sign %s", t.Have, t.Need, e.ID)
}

// A Pending is a proposal as this device has judged it.
type Pending struct {
	ID       token.ID
	Proposal roster.Proposal
	Tallies  []roster.Tally // one for each statement
	Signed   []string       // whose signatures all its statements bear: e-mails
	Mine     bool           // this device's is among them
	// Words say all that it does, for each statement. They are its maker's text.
	Words [][]string
}

// Short is the tally of the statement that lacks most.
func (p *Pending) Short() roster.Tally {
	return slices.MaxFunc(p.Tallies, func(a, b roster.Tally) int { return (a.Need - a.Have) - (b.Need - b.Have) })
}

// judge makes a Pending of a proposal, on top of a roster.
func (a *Admin) judge(r *roster.Roster, p roster.Proposal) (out Pending, err error) {
	id, err := p.ID()
	if err != nil {
		return out, err
	}
	out.ID, out.Proposal = id, p
	if out.Tallies, err = r.Consider(p); err != nil {
		return out, err
	}
	signed := map[string]int{}
	for _, st := range p.Statements {
		signers, err := roster.Signers(st)
		if err != nil {
			return out, err
		}
		for _, k := range signers {
			d, _ := r.EverDevice(k) // Consider has checked that it is known
			if signed[d.Email]++; signed[d.Email] == len(p.Statements) {
				out.Signed = append(out.Signed, d.Email)
			}
			out.Mine = out.Mine || k == a.Home().Identity.Kid()
		}
		words, err := r.Describe(st)
		if err != nil {
			return out, err
		}
		out.Words = append(out.Words, words)
	}
	slices.Sort(out.Signed)
	return out, nil
}

// propose leaves a change that this device has signed for other admins. why is what it
// lacks.
func (a *Admin) propose(ctx context.Context, r *roster.Roster, p roster.Proposal, why error) error {
	pending, err := a.judge(r, p)
	if err != nil {
		return fmt.Errorf("%w; nor would more signatures help: %w", why, err)
	}
	if slices.ContainsFunc(pending.Tallies, func(t roster.Tally) bool { return t.Have == 0 }) {
		return why // this device is no admin's: nobody is asked
	}
	if err := a.keep(pending); err != nil {
		return err
	}
	if p.Restarts() {
		return &ProposedError{pending} // nobody can sign in to apid's box
	}
	if _, err := a.Client().Propose(ctx, p.Statements...); err != nil {
		a.Tell(sanitize.Clean("apid does not pass it on; hand it over yourself, by `tucdesk roster pending " + pending.ID.String() + " --text`: " + err.Error()))
	}
	return &ProposedError{pending}
}

func (a *Admin) proposals() string { return filepath.Join(a.Home().Dir, "proposals") }

// keep stores a proposal that this device has signed: apid may lose it.
func (a *Admin) keep(p Pending) error {
	if err := os.MkdirAll(a.proposals(), 0o700); err != nil {
		return fmt.Errorf("team: %w", err)
	}
	text, err := p.Proposal.Text()
	if err != nil {
		return err
	}
	return keyfile.Replace(filepath.Join(a.proposals(), p.ID.String()), []byte(text+"\n"))
}

func (a *Admin) forget(id token.ID) error {
	err := os.Remove(filepath.Join(a.proposals(), id.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// kept gives the proposals of this home.
func (a *Admin) kept() (map[token.ID]roster.Proposal, error) {
	files, err := os.ReadDir(a.proposals())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("team: %w", err)
	}
	out := map[token.ID]roster.Proposal{}
	for _, f := range files[:min(len(files), maxKept)] {
		id, err := token.ParseID(f.Name())
		if err != nil {
			continue // a file that is being written
		}
		path := filepath.Join(a.proposals(), f.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("team: %w", err)
		}
		if out[id], err = roster.ParseProposal(string(b)); err != nil {
			return nil, fmt.Errorf("team: %s: %w; remove it, and propose it again if it is still wanted", path, err)
		}
	}
	return out, nil
}

// Pending gives the changes that wait for signatures, of apid's box and of this home, each
// with the signatures of both. What apid lacks of this home's it is given again; what a
// newer statement has overtaken is forgotten and named in overtaken.
func (a *Admin) Pending(ctx context.Context) (list []Pending, overtaken []token.ID, err error) {
	r, err := a.newest(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, err := a.kept()
	if err != nil {
		return nil, nil, err
	}
	if all == nil {
		all = map[token.ID]roster.Proposal{}
	}
	theirs, err := a.Client().Proposals(ctx)
	if err != nil {
		a.Tell(sanitize.Clean("apid does not say what waits there; this is what this device has signed: " + err.Error()))
	}
	there := map[token.ID]bool{}
	for _, w := range theirs {
		p := roster.Proposal{Statements: w.Statements}
		id, err := p.ID()
		if err == nil && token.ID(id) != w.ID {
			err = errors.New("it is another one than apid says")
		}
		whole := p
		if mine, ok := all[w.ID]; ok && err == nil {
			whole, err = p.With(mine)
		}
		if err != nil {
			a.Tell(sanitize.Clean(fmt.Sprintf("apid shows a proposal that is none (%s): %v", w.ID, err)))
			continue
		}
		all[w.ID], there[w.ID] = whole, same(whole, p)
	}
	for _, id := range slices.SortedFunc(maps.Keys(all), func(x, y token.ID) int { return strings.Compare(x.String(), y.String()) }) {
		p, err := a.judge(r, all[id])
		switch {
		case errors.Is(err, roster.ErrGap):
			overtaken = append(overtaken, id)
			err = a.forget(id)
		case err != nil:
			a.Tell(sanitize.Clean(fmt.Sprintf("proposal %s would not hold: %v", id, err)))
			continue
		default:
			list = append(list, p)
			if !there[id] && p.Mine {
				_, err = a.Client().Propose(ctx, p.Proposal.Statements...)
			}
		}
		if err != nil {
			a.Tell(sanitize.Clean(err.Error()))
		}
	}
	return list, overtaken, nil
}

func same(p, q roster.Proposal) bool {
	return slices.EqualFunc(p.Statements, q.Statements, func(x, y []byte) bool { return string(x) == string(y) })
}

// Find gives the one proposal whose id begins with a text, or that the text is.
func (a *Admin) Find(ctx context.Context, text string) (Pending, error) {
	if p, err := roster.ParseProposal(text); err == nil {
		r, err := a.under(ctx, p)
		if err != nil {
			return Pending{}, err
		}
		return a.judge(r, p)
	}
	list, overtaken, err := a.Pending(ctx)
	if err != nil {
		return Pending{}, err
	}
	var found []Pending
	for _, p := range list {
		if len(text) >= 4 && strings.HasPrefix(p.ID.String(), text) {
			found = append(found, p)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	for _, id := range overtaken {
		if len(text) >= 4 && strings.HasPrefix(id.String(), text) {
			return Pending{}, fmt.Errorf("%w: proposal %s was overtaken by another statement; whoever wants it proposes it again", roster.ErrGap, id)
		}
	}
	return Pending{}, fmt.Errorf("%w proposal: `tucdesk roster pending` lists them; give four characters or more of its id", roster.ErrUnknown)
}

// Cosign adds this device's signature to a proposal that a person has read, and makes it
// hold if that is enough. done is false while it waits for more.
func (a *Admin) Cosign(ctx context.Context, p Pending) (r *roster.Roster, done bool, err error) {
	signed := p.Proposal
	if !roster.Enough(p.Tallies) {
		if p.Mine {
			return nil, false, &ProposedError{p}
		}
		if signed, err = signed.Sign(a.Home().Identity); err != nil {
			return nil, false, err
		}
		if r, err = a.under(ctx, signed); err != nil {
			return nil, false, err
		}
		before := p.Short()
		if p, err = a.judge(r, signed); err != nil {
			return nil, false, err
		}
		if now := p.Short(); now.Need-now.Have >= before.Need-before.Have {
			return nil, false, fmt.Errorf("%w: this device's signature does not count here: it is no admin's, or its member has signed already", roster.ErrThreshold)
		}
		if !roster.Enough(p.Tallies) {
			return r, false, a.propose(ctx, r, signed, roster.ErrThreshold)
		}
	}
	if r, err = a.publish(ctx, signed); errors.Is(err, wire.ErrConflict) {
		return nil, false, fmt.Errorf("%w: another statement was faster: propose this one again", err)
	}
	if err == nil {
		err = a.forget(p.ID)
	}
	return r, err == nil, err
}

// Withdraw takes a proposal out of apid's box and out of this home. Whoever has its bytes
// can still sign them, until another statement overtakes it.
func (a *Admin) Withdraw(ctx context.Context, p Pending) error {
	err := a.Client().WithdrawProposal(ctx, p.ID)
	if errors.Is(err, wire.ErrNotFound) {
		err = nil
	}
	return errors.Join(err, a.forget(p.ID))
}
