package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/rosters"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// roster gives a team's roster outside a transaction.
func (s *Server) roster(ctx context.Context, team string) (r *roster.Roster, err error) {
	if store.CheckTeam(team) != nil {
		return nil, rosters.ErrNoTeam
	}
	err = s.store.View(ctx, team, func(tx store.Tx) error {
		r, err = s.rosters.At(tx, team)
		return err
	})
	switch {
	case errors.Is(err, rosters.ErrDamaged):
		return nil, fmt.Errorf("%w: %w: %w", door.ErrNotNow, door.ErrDamaged, err)
	case err != nil && !errors.Is(err, rosters.ErrNoTeam):
		return nil, fmt.Errorf("%w: %w", door.ErrNotNow, err)
	}
	return r, err
}

// getOpenAPI answers with the description of the routes.
func (s *Server) getOpenAPI(context.Context, *door.Request) (json.RawMessage, error) {
	return s.openapi, nil
}

// getServer answers who the servers are.
func (s *Server) getServer(context.Context, *door.Request) (wire.ServerInfo, error) {
	return wire.ServerInfo{
		Version: daemon.Version().Version, URL: s.cfg.URL, Rendezvous: s.cfg.RendezvousURL, Relays: s.cfg.RelayAddrs, Keys: s.cfg.Keys.Public(),
	}, nil
}

// foundTeam takes the genesis of a new team, where the configuration lets it.
// Its proof is the genesis itself, which all of its admins have signed.
func (s *Server) foundTeam(ctx context.Context, _ *door.Request, in wire.FoundRequest) (wire.Founded, error) {
	r, err := roster.Open(in.Genesis)
	if err != nil {
		return wire.Founded{}, door.Malformed("the genesis does not verify: "+err.Error(), "make it again with tucdesk login --found")
	}
	if r.Demo() && !s.loopback {
		return wire.Founded{}, door.Denied("a demo's team lives on loopback only", "found a real team with tucdesk login --found")
	}
	done := wire.Founded{TeamID: r.TeamID(), TeamFP: r.TeamFP()}
	switch known, err := s.roster(ctx, r.TeamID()); {
	case errors.Is(err, door.ErrNotNow):
		return wire.Founded{}, err
	case err == nil && known.TeamFP() == r.TeamFP():
		return done, nil
	}
	if err := s.mayFound(ctx); err != nil {
		return wire.Founded{}, err
	}
	err = s.commit(ctx, r.TeamID(), func(tx store.Tx) (*team, error) {
		err := tx.Roster.AppendStatement(store.Statement{Hash: r.TeamFP(), Bytes: in.Genesis})
		if errors.Is(err, store.ErrConflict) {
			return nil, wire.NewProblem(wire.KindConflict, "a team of this name exists", "choose another team name")
		}
		if err != nil {
			return nil, err
		}
		t := s.team(tx, r)
		return t, s.record(t, audit.Entry{Type: audit.Roster, Action: "genesis", Actor: t.own()})
	})
	if err != nil {
		return wire.Founded{}, err
	}
	s.logger.Info("team founded", "team", r.TeamID(), "team_fp", r.TeamFP().String())
	return done, nil
}

func (s *Server) mayFound(ctx context.Context) error {
	closed := door.Denied("this server takes no new teams", "ask whoever runs it, or run tucdesk up")
	switch s.cfg.Founding {
	case FoundingOpen:
		return nil
	case FoundingFirst:
		teams, err := s.store.Teams(ctx, "", 1)
		if err != nil {
			return err
		}
		if len(teams) == 0 {
			return nil
		}
	}
	return closed
}

// getRoster gives a page of statements to whoever stands on the roster.
func (s *Server) getRoster(ctx context.Context, r *door.Request) (wire.RosterPage, error) {
	after, err := r.Number("after", 0)
	if err != nil {
		return wire.RosterPage{}, err
	}
	team := r.Caller.Roster
	page := wire.RosterPage{Genesis: team.Genesis(), Statements: [][]byte{}, Head: wire.Head(team.Head())}
	size := 0
	for _, st := range team.Statements(after) {
		if size += len(st); len(page.Statements) == wire.MaxStatements || size > wire.MaxAnswer/2 {
			page.More = true
			break
		}
		page.Statements = append(page.Statements, st)
	}
	return page, nil
}

// postStatements appends statements. Who carries them here does not matter:
// roster.Apply judges who signed them.
func (s *Server) postStatements(ctx context.Context, r *door.Request, in wire.StatementsRequest) (wire.StatementsAnswer, error) {
	if n := len(in.Statements); n == 0 || n > wire.MaxStatements {
		return wire.StatementsAnswer{}, door.Malformed(fmt.Sprintf("%d statements, want 1 to %d", n, wire.MaxStatements), "send them in parts")
	}
	var head roster.Head
	err := s.effect(ctx, r.Caller, func(t *team) error {
		before := t.roster
		if err := s.appendStatements(t, r.Caller, in.Statements); err != nil {
			return err
		}
		head = t.roster.Head()
		return mirrorTargets(t.tx, before, t.roster)
	})
	if err != nil {
		return wire.StatementsAnswer{}, err
	}
	return wire.StatementsAnswer{Head: wire.Head(head)}, nil
}

// appendStatements makes the roster and the log follow statements.
func (s *Server) appendStatements(t *team, by door.Caller, statements [][]byte) error {
	for _, st := range statements {
		next, err := t.roster.Learn(s.now(), st)
		if err != nil {
			return statementProblem(err, t.roster.Head())
		}
		if next.Head() == t.roster.Head() {
			continue // known already
		}
		if err := acceptPolicy(t.roster, next); err != nil {
			return err
		}
		t.roster = next
		if err := t.tx.Roster.AppendStatement(store.Statement{Seq: next.Head().Seq, Hash: next.Head().Hash, Bytes: st}); err != nil {
			return err
		}
		if err := s.record(t, audit.Entry{Type: audit.Roster, Action: "statement", Actor: party(by)}); err != nil {
			return err
		}
	}
	return nil
}

// acceptPolicy runs a new policy's own tests: they belong to writes. A lockdown is
// taken as it is: whoever closes the doors in a hurry is not sent back.
func acceptPolicy(before, after *roster.Roster) error {
	if after.PolicyVersion() == before.PolicyVersion() || after.Snapshot().Policy.Lockdown() {
		return nil
	}
	if err := after.CheckPolicy(after.PolicyDocument()); err != nil {
		return door.Malformed(err.Error(), "mend the policy or its tests, and sign it again")
	}
	return nil
}

func statementProblem(err error, head roster.Head) error {
	var fork *roster.ForkError
	var p *wire.ProblemError
	switch {
	case errors.As(err, &fork):
		p = wire.NewProblem(wire.KindConflict, err.Error(), "keep both statements as evidence and tell an admin of your team")
	case errors.Is(err, roster.ErrGap):
		p = wire.NewProblem(wire.KindConflict, err.Error(), "fetch the roster and sign on top of its head")
	case errors.Is(err, roster.ErrThreshold), errors.Is(err, envelope.ErrUnknownSigner):
		p = door.Denied(err.Error(), "collect the signatures of more admins")
	default:
		p = door.Malformed(err.Error(), "make the statement again on top of the present roster")
	}
	h := wire.Head(head)
	p.Head = &h
	return p
}

// mirrorTargets makes the rows of targets follow the roster's agents.
func mirrorTargets(tx store.Tx, before, after *roster.Roster) error {
	if before == after {
		return nil
	}
	old := make(map[key.Kid]bool)
	for _, a := range before.Agents() {
		old[a.Kid] = true
	}
	var added []roster.Agent
	for _, a := range after.Agents() {
		if !old[a.Kid] {
			added = append(added, a)
		}
		delete(old, a.Kid)
	}
	for kid := range old { // first, so that its name is free
		if err := tx.Targets.Delete(kid); err != nil {
			return err
		}
	}
	for _, a := range added {
		err := tx.Targets.Put(store.Target{Kid: a.Kid, Name: a.Name, Tags: a.Tags, LoginUser: a.LoginUser, Exp: a.Exp})
		if err != nil {
			return err
		}
	}
	return nil
}
