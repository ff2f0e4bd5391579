package ruling

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/policy"
)

const document = `version: 1
mode: allowlist
allowlist:
  - name: shells
    members: [alice@example.com]
    targets: {names: [web-1]}
    sessions: [shell, exec]
    as: [app]
  - name: only shells
    members: [bob@example.com]
    targets: {names: [web-1]}
    sessions: [shell]
    as: [app]
commands:
  critical: ["mkfs* ..."]
  high: ["rm ...", "@untrusted"]
  medium: ["mv ..."]
  default: low
  tiers: {critical: deny, high: hold, medium: confirm, low: allow}
approvers: {approvers: ["role:approver"], quorum: 1, expires: 15m}
`

func rules(t testing.TB, member string) Rules {
	t.Helper()
	p, err := policy.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return Rules{
		policy.Request{Member: member, MemberID: "m", Target: "web-1", LoginUser: "app", Kind: policy.Shell, Tags: map[string]string{"env": "prod"}},
		&policy.Snapshot{Policy: p, Version: 3}, []byte(document),
	}
}

// program is a start of a file that root has put where only root writes.
func program(path string, argv ...string) live.Start {
	return live.Start{Requested: path, Argv: argv, Loads: argv, Cwd: "/srv", Files: []live.StartFile{{Path: path, Links: 1}}}
}

func line(text string) live.Start {
	return live.Start{Argv: []string{"/bin/sh", "-c", text}, Cwd: "/srv"}
}

// A start gets the word of its tier; what is asked for is its file's own name; what
// nobody can be asked for is denied; and what the rules let a half start by itself is
// what the keeper would allow, and nothing else.
func TestRules(t *testing.T) {
	alice, bob := rules(t, "alice@example.com"), rules(t, "bob@example.com")
	now := time.Now()
	for name, tc := range map[string]struct {
		r      Rules
		s      live.Start
		effect string
		argv   string // what is asked for
	}{
		"low":                     {alice, program("/bin/ls", "ls", "-l"), "allow", ""},
		"critical":                {alice, program("/sbin/mkfs.ext4", "mkfs.ext4", "/dev/x"), "deny", ""},
		"high":                    {alice, program("/bin/rm", "rm", "x"), "hold", "/bin/rm x"},
		"by another name":         {alice, program("/bin/rm", "ls", "x"), "hold", "/bin/rm x"},
		"medium":                  {alice, program("/bin/mv", "mv", "a", "b"), "confirm", "/bin/mv a b"},
		"a file without a name":   {alice, live.Start{Argv: []string{"rm"}, Cwd: "/", Files: []live.StartFile{{}}}, "deny", ""},
		"exec is not allowed":     {bob, program("/bin/rm", "rm", "x"), "deny", ""},
		"nothing":                 {alice, live.Start{}, "", ""},
		"no rules":                {Rules{}, program("/bin/ls", "ls"), "", ""},
		"somebody else":           {rules(t, "mallory@example.com"), program("/bin/ls", "ls"), "", ""},
		"a low line":              {alice, line("ls | wc -l"), "allow", ""},
		"a high line":             {alice, line("cd /tmp && rm x"), "hold", "/bin/sh -c cd /tmp && rm x"},
		"a critical line":         {alice, line("true; mkfs.ext4 /dev/x"), "deny", ""},
		"a line with a high part": {alice, line("echo $(rm x)"), "hold", "/bin/sh -c echo $(rm x)"},
		"a line that hides it":    {alice, line(`$X`), "hold", "/bin/sh -c $X"},
		"a line for who may not":  {bob, line("rm x"), "deny", ""},
	} {
		got := tc.r.Of(tc.s, now)
		if got.Effect != tc.effect || strings.Join(got.Argv, " ") != tc.argv || got.Reason == "" {
			t.Errorf("%s: %+v", name, got)
		}
		if tc.r.allows(tc.s, now) != (tc.effect == "allow") {
			t.Errorf("%s: %q, and allowed is %v", name, tc.effect, tc.effect != "allow")
		}
		if waits := tc.argv != ""; waits != (got.Wait > 0) {
			t.Errorf("%s waits %v", name, got.Wait)
		}
	}
}

// What was lent holds for its time, is asked for once in it, and ends at a word, also
// while it is on its way.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rules(t, "alice@example.com")
		var l Lease
		var asked, sent int
		var err error
		borrow := func(has []byte) (Loan, error) {
			asked++
			loan := r.Lend(has)
			if len(loan.Document) > 0 {
				sent++
			}
			return loan, err
		}
		ls, rm := program("/bin/ls", "ls"), program("/bin/rm", "rm")
		for range 10 {
			if !l.Allows(ls, borrow) || l.Allows(rm, borrow) {
				t.Fatal("not as the rules say")
			}
		}
		time.Sleep(LeaseTime)
		if !l.Allows(ls, borrow) || asked != 2 || sent != 1 {
			t.Errorf("asked %d times, %d policies came", asked, sent)
		}
		l.Withdraw()
		err = errors.New("there is no keeper")
		if l.Allows(ls, borrow) {
			t.Error("it was withdrawn, and there is nobody to ask")
		}
		err = nil
		if l.Allows(ls, func(has []byte) (Loan, error) {
			l.Withdraw() // the word passes the rules on their way
			return borrow(has)
		}) {
			t.Error("rules that were withdrawn on their way were taken")
		}
		none := func([]byte) (Loan, error) { asked++; return Nothing(), nil }
		asked = 0
		for range 2 {
			if l.Allows(ls, none) || asked != 1 {
				t.Errorf("nothing was lent, and it was asked for %d times", asked)
			}
		}
		time.Sleep(LeaseTime)
		if !l.Allows(ls, borrow) || sent != 1 {
			t.Errorf("the policy came %d times", sent)
		}
	})
}

// What comes back of a loan is what was lent; what is no policy, or too large, is
// nothing.
func TestLoan(t *testing.T) {
	r := rules(t, "alice@example.com")
	loan := r.Lend(nil)
	var back Rules
	sum, err := back.take(loan, nil)
	if err != nil || back.request.Member != r.request.Member || back.request.Kind != r.request.Kind || back.request.Tags["env"] != "prod" || back.snapshot.Version != 3 {
		t.Errorf("%+v, %v", back, err)
	}
	if again := r.Lend(sum); !again.Lent || len(again.Document) != 0 {
		t.Errorf("%+v", again)
	}
	if _, err := new(Rules).take(r.Lend(sum), nil); err == nil {
		t.Error("rules without a policy were taken")
	}
	loan.Document = []byte("version: 9\n")
	if _, err := new(Rules).take(loan, nil); err == nil {
		t.Error("what is no policy was taken")
	}
	r.document = append(slices.Clone(r.document), make([]byte, maxDocument)...)
	if r.Lend(nil).Lent || (Rules{}).Lend(nil).Lent {
		t.Error("what can't be lent was")
	}
}
