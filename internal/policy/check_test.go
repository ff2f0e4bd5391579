package policy

import (
	"strings"
	"testing"
	"time"
)

var people = []Person{
	{MemberID: "m-alice", Email: "alice@example.com", Roles: []string{"sre"}},
	{MemberID: "m-bob", Email: "bob@example.com", Roles: []string{"sre", "approver"}},
	{MemberID: "m-carol", Email: "carol@example.com", Roles: []string{"admin", "approver"}},
	{MemberID: "m-carol", Email: "carol@example.com", Roles: []string{"admin", "approver"}}, // twice, as one person
	{MemberID: "", Email: "ghost@example.com", Roles: []string{"approver"}},
}

func names(people []Person) string {
	var list []string
	for _, p := range people {
		list = append(list, strings.TrimPrefix(p.MemberID, "m-"))
	}
	return strings.Join(list, " ")
}

func TestEligibleApprovers(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t), People: people}
	held := Evaluate(aliceOn("web-1", prod, Shell), snap)
	for requester, want := range map[string]string{
		"m-alice": "bob carol",
		"m-bob":   "carol",
		"m-carol": "bob",
		"m-other": "bob carol",
		"":        "",
	} {
		if got := names(snap.EligibleApprovers(held, requester)); got != want {
			t.Errorf("for %q: %q, want %q", requester, got, want)
		}
	}
	for _, v := range []Verdict{{}, {Effect: Allow, Obligations: held.Obligations}, {Effect: Hold}} {
		if got := snap.EligibleApprovers(v, "m-alice"); got != nil {
			t.Errorf("%+v: %v", v, got)
		}
	}
	if (*Snapshot)(nil).EligibleApprovers(held, "m-alice") != nil {
		t.Error("a nil snapshot has approvers")
	}
	byMail := held
	byMail.Obligations.Approvers = []string{"CAROL@*", "role:nobody", "not a member"}
	if got := names(snap.EligibleApprovers(byMail, "m-alice")); got != "carol" {
		t.Errorf("by e-mail: %q", got)
	}
}

func TestCheck(t *testing.T) {
	rule := func(more string) string {
		return head + "allowlist:\n  - {name: a, members: [\"role:sre\"], targets: {names: [\"*\"]}, sessions: [exec]" + more + "}\n"
	}
	for name, tt := range map[string]struct {
		doc  string
		want string // "" for no problem
		line int
	}{
		"no hold":                   {rule(""), "", 0},
		"hold":                      {rule(", hold: {}"), "", 0},
		"unknown role":              {rule(", hold: {approvers: [\"role:boss\"]}"), "nobody could approve what a holds: it needs 1 of role:boss", 4},
		"quorum too high":           {rule(", hold: {quorum: 3}"), "nobody could approve", 4},
		"quorum for alice only":     {rule(", hold: {quorum: 2}"), "", 0},
		"only oneself":              {head + "allowlist: [{name: a, members: [\"bob@*\"], targets: {names: [x]}, sessions: [exec], hold: {approvers: [\"bob@*\"]}}]", "requester does not count", 3},
		"nobody asks yet":           {head + "allowlist: [{name: a, members: [\"role:new\"], targets: {names: [x]}, sessions: [exec], hold: {}}]", "", 0},
		"held commands":             {rule("") + "commands: {high: [\"rm ...\"]}\napprovers: {approvers: [\"role:boss\"]}", "nobody could approve the commands that are held under a", 6},
		"steps":                     {rule(", hold: {steps: [{approvers: [\"bob@*\"]}, {approvers: [\"role:approver\"]}]}"), "", 0},
		"steps for one person":      {rule(", hold: {steps: [{approvers: [\"bob@*\"]}, {approvers: [\"bob@*\"]}]}"), "nobody could approve what a holds: it needs 1 of bob@*, then 1 of bob@*", 4},
		"an any that nobody meets":  {rule(", hold: {steps: [{any: [{approvers: [\"role:boss\"]}, {approvers: [\"role:approver\"], quorum: 3}]}]}"), "needs 1 of role:boss or 3 of role:approver", 4},
		"any is enough":             {rule(", hold: {steps: [{any: [{approvers: [\"role:boss\"]}, {approvers: [\"role:approver\"]}]}]}"), "", 0},
		"all is not":                {rule(", hold: {steps: [{all: [{approvers: [\"role:boss\"]}, {approvers: [\"role:approver\"]}]}]}"), "nobody could approve", 4},
		"no held commands":          {rule("") + "commands: {high: [\"rm ...\"], tiers: {high: deny}}\napprovers: {approvers: [\"role:boss\"]}", "", 0},
		"held commands, own hold":   {rule(", hold: {}") + "commands: {high: [\"rm ...\"]}\napprovers: {approvers: [\"role:boss\"]}", "", 0},
		"held commands, no exec":    {strings.Replace(rule(""), "[exec]", "[shell]", 1) + "commands: {high: [\"rm ...\"]}\napprovers: {approvers: [\"role:boss\"]}", "", 0},
		"held commands, blocklist":  {"version: 1\nmode: blocklist\nblocklist: [{name: a, as: [x]}]\ncommands: {default: high}\napprovers: {approvers: [\"role:boss\"]}", "held command", 5},
		"break-glass out of reach":  {head + "break_glass: {members: [\"role:admin\"], quorum: 2}", "break_glass needs 2 members, and the roster has 1", 3},
		"break-glass within reach":  {head + "break_glass: {members: [\"role:admin\", \"bob@*\"], quorum: 2}", "", 0},
		"ghosts and twins count no": {head + "break_glass: {members: [\"role:approver\"], quorum: 3}", "has 2 of them", 3},
	} {
		problems := (&Snapshot{Policy: mustParse(t, tt.doc), People: people}).Check()
		switch {
		case tt.want == "" && len(problems) > 0:
			t.Errorf("%s: %v", name, problems)
		case tt.want != "" && (len(problems) != 1 || !strings.Contains(problems[0].Text, tt.want) || problems[0].Line != tt.line):
			t.Errorf("%s: %v, want line %d: %s", name, problems, tt.line, tt.want)
		}
	}
	if len((*Snapshot)(nil).Check()) == 0 || len((&Snapshot{}).Check()) == 0 {
		t.Error("no policy is no problem")
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		15 * time.Minute: "15 min", 90 * time.Minute: "90 min", 2 * time.Hour: "2 h", 48 * time.Hour: "2 d", 90 * time.Second: "1m30s",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
