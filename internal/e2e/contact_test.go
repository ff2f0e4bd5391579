package e2e

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// contactPolicy lets SREs do what they like on machines with env=prod or env=ci.
const contactPolicy = `version: 1
mode: allowlist
allowlist:
  - name: sre
    members: ["role:sre"]
    targets: {tags: {env: "prod|ci"}}
    sessions: [shell, exec]
    as: [%s]
commands: {default: low, tiers: {low: allow}}
gate: none
`

// TestContact tells how a team comes to be: servers that hold nobody's key, a
// founder, a second person, a machine that is paired, a fleet that enrols, and
// how somebody leaves.
func TestContact(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/contact",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"alice", "carol", "bob"} {
				e.Setenv(strings.ToUpper(name), filepath.Join(e.WorkDir, name))
			}
			e.Setenv("NO_COLOR", "1")
			e.Setenv("LOGIN", me.Username)
			policy := fmt.Sprintf(contactPolicy, strconv.Quote(me.Username))
			for _, tag := range []string{"prod", "ci"} { // a tag's value is one pattern
				policy = strings.Replace(policy, `"prod|ci"`, tag, 1)
				if err := os.WriteFile(filepath.Join(e.WorkDir, tag+".yaml"), []byte(policy), 0o600); err != nil {
					return err
				}
				policy = fmt.Sprintf(contactPolicy, strconv.Quote(me.Username))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": cmdAs, "waitfor": cmdWaitFor, "exits": cmdExits, "capture": cmdCapture, "waitfile": cmdWaitFile, "within": cmdWithin,
		},
	})
}

// cmdCapture puts what a regular expression's group matches in the last standard
// output, or in a file, into a variable: capture NAME REGEXP [FILE].
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: capture NAME REGEXP [FILE]")
	}
	text := ""
	if len(args) == 3 {
		text = ts.ReadFile(args[2])
	} else {
		text = ts.ReadFile("stdout")
	}
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(text)
	if len(m) != 2 {
		ts.Fatalf("%q is not in:\n%s", args[1], text)
	}
	ts.Setenv(args[0], m[1])
}

// cmdWaitFile waits until a file is there.
func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile FILE")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s is not there after 30 s", args[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// cmdWithin compares the times of two files: within SECONDS EARLIER LATER.
func cmdWithin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: within SECONDS EARLIER LATER")
	}
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	var at [2]time.Time
	for i, name := range args[1:] {
		st, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		at[i] = st.ModTime()
	}
	if took := at[1].Sub(at[0]); took > time.Duration(most)*time.Second {
		ts.Fatalf("%s came %s after %s, want at most %d s", args[2], took, args[1], most)
	}
}
