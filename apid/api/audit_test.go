package api

import (
	"bytes"
	"crypto"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// noHash tells an Ed25519 signer to sign the message itself.
type noHash struct{}

func (noHash) HashFunc() crypto.Hash { return 0 }

// Everything that apid did, allowed and refused, verifies offline from the
// fingerprint alone.
func TestExportVerifies(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	session := token.NewID()
	asked, err := c.alice.ask(c.prod.Kid(), session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.alice.decide(asked, true); err == nil {
		t.Fatal("self-approval")
	}
	if _, err := c.bob.decide(asked, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.alice.open(c.prod.Kid(), session, asked.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.bob.open(c.staging.Kid(), token.NewID()); err == nil {
		t.Fatal("bob is no sre")
	}
	if _, err := c.alice.open(newIdentity(t).Kid(), token.NewID()); err == nil {
		t.Fatal("an unknown target")
	}
	late, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	withdrawn, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	cancel := c.alice.sign(c.alice.proof(token.ActCancel, c.prod.Kid(), withdrawn.SessionID))
	if _, err := c.alice.client.Cancel(t.Context(), withdrawn.ID, cancel); err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(16 * time.Minute)
	if err := s.sweepTeam(t.Context(), c.name, false); err != nil {
		t.Fatal(err)
	}
	if a, err := c.bob.client.Approval(t.Context(), late.ID, 0); err != nil || a.State != wire.Expired {
		t.Fatalf("%+v, %v", a, err)
	}
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.alice.id.Kid(), Reason: "lost"})
	if _, err := s.client(t, c.name, c.alice.id).SignIn(t.Context()); err == nil {
		t.Fatal("a revoked device")
	}

	var file bytes.Buffer
	if err := c.dora.client.Export(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	count := map[audit.Type]int{}
	report, err := audit.Verify(&file, c.roster.TeamFP(), audit.Options{Visit: func(_ int64, e audit.VerifiedEntry) error {
		count[e.Entry().Type]++
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Error(p)
	}
	want := map[audit.Type]int{audit.Roster: len(c.roster.Statements(0)) + 1, audit.Ask: 4, audit.Approval: 2, audit.Verdict: 2, audit.Refusal: 3}
	for kind, n := range want {
		if count[kind] != n {
			t.Errorf("%d entries of type %s, want %d", count[kind], kind, n)
		}
	}
	if report.Head != c.roster.Head() || count[audit.SignIn] == 0 {
		t.Errorf("report %+v, %v", report, count)
	}

	note, err := c.bob.client.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyCheckpoint(note, c.roster.TeamFP(), c.roster.ServerKeys(roster.ServerLog)...); err != nil {
		t.Error(err)
	}
	page, err := c.dora.client.Entries(t.Context(), 3, 2)
	if err != nil || len(page.Entries) != 2 {
		t.Fatalf("%v, %v", page, err)
	}
	text, err := c.dora.client.LogProof(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := audit.ParseProof(text)
	if err != nil || !bytes.Equal(proof.Entry, page.Entries[1]) {
		t.Fatalf("%v", err)
	}
	if _, err := proof.Check(c.roster.TeamFP(), c.roster.ServerKeys(roster.ServerLog)...); err != nil {
		t.Error(err)
	}
	whole, err := audit.InsecureCheckpoint(note)
	if err != nil {
		t.Fatal(err)
	}
	consistency, err := c.bob.client.Consistency(t.Context(), 3, whole.Size)
	if err != nil {
		t.Fatal(err)
	}
	part, err := audit.InsecureCheckpoint(proof.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if part.Size = 3; audit.CheckConsistency(consistency, part, whole) == nil {
		t.Error("a root of another size is taken")
	}
	for _, sizes := range [][2]int64{{4, 3}, {3, whole.Size + 100}} {
		_, err = c.bob.client.Consistency(t.Context(), sizes[0], sizes[1])
		wantProblem(t, err, wire.KindConflict)
	}
	_, err = c.dora.client.LogProof(t.Context(), 10_000)
	wantProblem(t, err, wire.KindNotFound)
}
