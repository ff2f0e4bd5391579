package api

import (
	"context"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/auditlog"
	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// routes is the table.
func (s *Server) routes() []door.Route {
	const maxWait = wire.MaxWait * time.Second
	log := auditlog.Service{
		View: func(ctx context.Context, team string, f func(store.Tx) error) error {
			return s.store.View(ctx, team, f)
		},
		Rosters: &s.rosters,
	}
	return append(slices.Concat(s.recordings.Routes(), log.Routes(), s.proposals.Routes(), s.usage.Routes(), s.attention.Routes()), []door.Route{
		door.Get("/v1/openapi.json", door.Anyone, "This document.", s.getOpenAPI),
		door.Get("/v1/server", door.Anyone, "Public keys and addresses of the servers, for founders.", s.getServer),
		door.Post("/v1/teams", door.Anyone, "Found a team with a signed genesis.", s.foundTeam),
		door.Post("/v1/token", door.Device, "Sign in: an access token for a device that is on the team's roster; with session, also what POST /v1/sessions answers.", s.signIn),
		door.Post("/v1/restart", door.Device, "How a log was set back, for admins, and its restart, which they have signed.", s.postRestart),
		door.Post("/v1/newcomers", door.Anyone, "A device that is on no roster asks to be added.", s.postNewcomer),
		door.Get("/v1/newcomers/{id}", door.Anyone, "The answers to such a request.", s.getNewcomerAnswers).Query("have", "wait").Waits(maxWait),
		door.Get("/v1/newcomers", door.Member, "The requests under a topic, which one must know.", s.getNewcomers).Query("topic", "have", "wait").Waits(maxWait),
		door.Post("/v1/newcomers/{id}/answer", door.Member, "Answer a request.", s.postNewcomerAnswer),
		door.Get("/v1/roster", door.Reader, "The team's signed roster statements.", s.getRoster).Query("after"),
		door.Post("/v1/roster/statements", door.Member, "Append signed statements, all or none.", s.postStatements),
		door.Get("/v1/agents", door.Member, "Which agents are online.", s.getAgents).Query("after"),
		door.Get("/v1/events", door.Member, "Server-sent events: hints that something changed which one may see.", s.events.Serve),
		door.Get("/v1/actor", door.Member, "Where the chain of this device's proofs stands.", s.getActor),
		door.Post("/v1/proofs", door.Member, "Record a proof of this device without any effect.", s.postProof),
		door.Post("/v1/sessions", door.Member, "Ask for a grant.", s.postSession),
		door.Get("/v1/sessions", door.Member, "The latest sessions: one's own, or all for auditors.", s.getSessions),
		door.Post("/v1/approvals", door.Member, "Ask for approval of a held request.", s.postApproval),
		door.Get("/v1/approvals", door.Member, "Approvals that one asked for, may decide on, or audits.", s.getApprovals).Query("state", "after"),
		door.Get("/v1/approvals/{id}", door.Member, "One approval; with wait, when it is no longer pending.", s.getApproval).Query("wait").Waits(maxWait),
		door.Post("/v1/approvals/{id}/decision", door.Member, "Decide.", s.postDecision),
		door.Post("/v1/approvals/{id}/cancel", door.Member, "Take an own ask back.", s.postCancel),
		door.Post("/v1/entries", door.Agent, "An agent's signed audit entries.", s.postEntries),
	}...)
}
