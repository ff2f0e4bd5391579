// Package drills is the product's headline promise as tests: "a server may veto,
// never authorise, and never read". Each drill replaces a part by a malicious one
// that has all its keys, and lets it play one attack against the honest client
// (backend/control), the honest agent (agent/host) and the offline verifier
// (internal/audit). It asserts what must not happen and what the honest side
// shows.
//
// A drill that can't fail proves nothing, so each names the check that it is
// about, and a build without that check:
//
//	go test ./internal/e2e/drills -run TestMutations -mutate
//
// makes these builds, one at a time, and wants each drill to fail. README.md is
// generated from the same table:
//
//	go test ./internal/e2e/drills -run TestPage -update
//
// The package has tests only, and nothing may import it.
package drills
