package mem

import (
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// Demo returns a small team with a target for each verdict.
func Demo() *World {
	allow := backend.Verdict{Effect: backend.Allow, Rule: "sre-may-use-staging", Line: 12, Reason: "SREs work freely on staging"}
	confirm := backend.Verdict{Effect: backend.Confirm, Rule: "look-twice", Line: 20, Reason: "production: look twice"}
	hold := backend.Verdict{Effect: backend.Hold, Rule: "prod-db-needs-two", Line: 31, Reason: "production data needs a second person", Approvers: "anyone with the role approver"}
	deny := backend.Verdict{Effect: backend.Deny, Rule: "vault-is-closed", Line: 7, Reason: "nobody logs in to the vault"}
	held := map[string]backend.Verdict{
		"restart": {Effect: backend.Hold, Rule: "restarts-are-held", Line: 40, Reason: "a restart needs a second person", Approvers: "anyone with the role approver"},
	}
	ways := map[string][]string{
		hold.Rule: {"on cache-1: allow by sre-may-use-staging, line 12"},
		deny.Rule: {"with role:keeper: hold by vault-for-keepers, line 9", "on web-1: allow by sre-may-use-staging, line 12"},
	}
	target := func(id, env, role string, state backend.State, v backend.Verdict) Target {
		var observe, join []string
		if env == "staging" {
			observe, join = []string{"bob", "carol"}, []string{"carol"}
		}
		return Target{
			Observe: observe, Join: join,
			Target: backend.Target{
				ID: backend.TargetID(id), Name: id, State: state,
				Tags:   map[string]string{"env": env, "role": role},
				Detail: map[string]string{"os": "none: this target is made up", "backend": "mem"},
			},
			Verdict: v, Commands: held, Tiers: map[string]string{"restart": "high"},
			Ways:    ways[v.Rule],
			Posture: map[string]string{"os": "linux/amd64", "version": "made up", "gate": "none"},
		}
	}
	w, err := NewWorld([]Target{
		target("cache-1", "staging", "cache", backend.Online, allow),
		target("db-1", "prod", "db", backend.Online, hold),
		target("db-2", "prod", "db", backend.Offline, hold),
		target("vault", "prod", "secrets", backend.Online, deny),
		target("web-1", "staging", "web", backend.Online, allow),
		target("web-2", "prod", "web", backend.Online, confirm),
		target("web-3", "prod", "web", backend.Unknown, confirm),
	})
	if err != nil {
		panic("mem: internal error: " + err.Error()) // the list above is constant
	}
	pastOfDemo(w, time.Now())
	return w
}
