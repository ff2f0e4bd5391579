package roster

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json again")

// A vectorFile is one team's history, and what must be refused at its end.
type vectorFile struct {
	Genesis    string      `json:"genesis"` // hex
	TeamFP     string      `json:"team_fp"`
	Statements []vectorRow `json:"statements"`
	Refuse     []vectorRow `json:"refuse"` // each on top of all statements
}

type vectorRow struct {
	Name      string `json:"name"`
	Statement string `json:"statement"` // hex
	Seq       uint64 `json:"seq,omitempty"`
	Hash      string `json:"hash,omitempty"`
	Why       string `json:"why,omitempty"`
}

func makeVectors(t *testing.T) vectorFile {
	r := found(t, 2, "carol", "dave", "erin")
	f := vectorFile{Genesis: hex.EncodeToString(r.Genesis()), TeamFP: r.TeamFP().String()}
	both := []string{"carol", "dave"}
	step := func(name string, kind Kind, body any, by ...string) {
		t.Helper()
		s := st(t, r, kind, body, by...)
		n, err := r.Apply(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r = n
		f.Statements = append(f.Statements, vectorRow{Name: name, Statement: hex.EncodeToString(s), Seq: r.Head().Seq, Hash: r.Head().Hash.String()})
	}
	step("a member", KindMemberAdd, newMember("alice", "sre"), both...)
	step("a machine", KindAgentAdd, machine("web-1"), both...)
	step("a policy", KindPolicySet, policySet(1, doc), both...)
	step("a runbook", KindRunbookSet, bookSet(1, book), both...)
	step("an admin suspended by one", KindAdminSuspend, Revoke{Kid: ident("erin").Kid(), Reason: "lost"}, "carol")
	step("and removed by two", KindAdminRemove, Revoke{Kid: ident("erin").Kid(), Reason: "lost"}, both...)
	step("a revocation by one", KindRevoke, Revoke{Kid: ident("alice").Kid(), Reason: "left"}, "dave")
	step("a lockdown by one", KindPolicySet, policySet(2, "version: 1\nmode: lockdown\n"), "carol")
	refuse := func(name, why string, kind Kind, body any, by ...string) {
		t.Helper()
		f.Refuse = append(f.Refuse, vectorRow{Name: name, Statement: hex.EncodeToString(st(t, r, kind, body, by...)), Why: why})
	}
	refuse("one of two admins", "too few signatures", KindMemberAdd, newMember("frank"), "carol")
	refuse("with a removed admin", "erin does not count", KindMemberAdd, newMember("frank"), "carol", "erin")
	refuse("a stranger signs too", "every signer must be known", KindMemberAdd, newMember("frank"), "carol", "dave", "mallory")
	refuse("a revoked key comes back", "a key enters once", KindDeviceAdd, DeviceAdd{"carol", dev("alice")}, both...)
	refuse("a name that is taken", "names are unique", KindAgentAdd, machine("web-1"), both...)
	refuse("a version is skipped", "versions rise by one", KindPolicySet, policySet(4, doc), both...)
	refuse("a runbook by one", "too few signatures", KindRunbookSet, bookSet(2, book), "carol")
	refuse("a runbook's version again", "versions rise by one", KindRunbookSet, bookSet(1, book), both...)
	refuse("out of lockdown by one", "only a lockdown is one admin's", KindPolicySet, policySet(3, doc), "carol")
	refuse("the last two admins become one", "k admins must remain", KindAdminRemove, Revoke{Kid: ident("dave").Kid()}, both...)
	refuse("an unknown kind", "never skipped", "promote", Threshold{1}, both...)
	return f
}

func TestVectors(t *testing.T) {
	const file = "testdata/vectors.json"
	if *update {
		b, err := json.MarshalIndent(makeVectors(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(b, &f); err != nil || len(f.Statements) < 5 || len(f.Refuse) < 5 {
		t.Fatalf("%d statements, %d refusals: %v", len(f.Statements), len(f.Refuse), err)
	}
	unhex := func(s string) []byte {
		t.Helper()
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r, err := Open(unhex(f.Genesis))
	if err != nil || r.TeamFP().String() != f.TeamFP {
		t.Fatalf("genesis: %v", err)
	}
	for _, row := range f.Statements {
		n, err := r.Apply(unhex(row.Statement))
		if err != nil || n.Head().Seq != row.Seq || n.Head().Hash.String() != row.Hash {
			t.Fatalf("%s: head %v, %v", row.Name, n.Head(), err)
		}
		r = n
	}
	for _, row := range f.Refuse {
		if n, err := r.Apply(unhex(row.Statement)); err == nil || n.Head() != r.Head() || strings.TrimSpace(row.Why) == "" {
			t.Errorf("%s: %v; must be refused: %s", row.Name, err, row.Why)
		}
	}
}
