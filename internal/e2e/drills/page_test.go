package drills

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write README.md anew")

// parts are the chapters of the page.
var parts = []struct {
	part  part
	title string
	has   string
	still []string
}{
	{
		malApid, "A malicious apid",
		"It has the keys that sign grants, access tokens and the audit log, the relay's secret, and every row. In these drills it has the rendezvous and the relay as well: all servers are one attacker.",
		[]string{
			"Refuse, delay or lose any request, and say that a machine is offline.",
			"See who asks for what kind of session on which machine, when, how often and for how long; from which address, too, with rendezvous or relay. It sees tiers and rules, never a command.",
			"Hide a revocation from machines that it alone talks to. Work that nobody holds goes on there until an operator who knows of the revocation opens a session, the statement comes by another way, or the device's own `exp` is over. Held work does not: it needs a roster as new as its approver's.",
			"Hide the roster's newest statements from a device that has never seen them.",
			"Record that somebody signed in, or that it refused somebody, who did neither: sign-ins and its own refusals are its word alone.",
			"Keep two logs for two readers until they meet the same machine, or one of them sees a checkpoint of the other's. Until witnesses are named the log is signed, not tamper-evident.",
			"Leave a comparison of two checkpoints open by saying that it is away: `doctor` shows that.",
			"Leave out the newest entries, for a reader who has no earlier checkpoint and asks for no age.",
			"Refuse sealed recordings, or have them uploaded to another object of a store that the machine's own settings name (`upload_hosts`). It can't have a machine send a request anywhere else.",
		},
	},
	{
		malDatabase, "A malicious database",
		"Whoever has it reads and writes every row, and puts old files in the place of new ones. There is no key in it. apid is honest here.",
		[]string{
			"Delete, and so stop everything: a team's rows are gone, and apid refuses to serve what does not verify.",
			"Read metadata: who, where, when, which rule; sealed commands as sealed.",
			"Say that a request was decided, expired or used: a denial that nobody gave costs a new request.",
			"Go back to an old state for people who have signed nothing since, as far as neither they nor a machine that they meet has seen more.",
		},
	},
	{
		malNetwork, "A malicious network half of an agent",
		"It stands between the rendezvous, the relay and the half that has the keys: every offer and every datagram passes there. In these drills its part is played by a malicious rendezvous and a malicious relay, whose hands are the same ones. What only the half within the agent can ask for is `TestMaliciousNetworkHalf` in `agent/host`: it gives the other half no roster, what it has signed is good for nothing else, and what it swallows is missed. `TestCompromisedNetworkHalf` beside it speaks the protocol between the processes, and stands in the way of every datagram.",
		[]string{
			"Drop and delay what passes, and end sessions by it.",
			"See sizes and times of datagrams, and addresses.",
			"Say that the roster was confirmed when it was not, so that `max_staleness` does not bite.",
			"Say that entries, or segments of recordings, were handed in which were not: the gap in the machine's own numbers shows it to every verifier, from the next entry on.",
			"Have registrations, heartbeats and requests to apid's routes for agents signed, and nothing else.",
		},
	},
}

// page is README.md.
func page() string {
	var b strings.Builder
	b.WriteString("# Drills\n\n<!-- Generated: go test ./internal/e2e/drills -run TestPage -update -->\n\n")
	b.WriteString("**A server may veto, never authorise, and never read.** Each line below is a test that replaces a part by a malicious one with all its keys,\n" +
		"lets it play one attack against the honest client, the honest agent and the offline verifier, and asserts two things: what must not happen (a\n" +
		"file on the machine is not touched, a forged log does not verify), and what the honest side says.\n\n" +
		"A test that can't fail proves nothing. So each drill names the check that stops the attack, and\n" +
		"`go test ./internal/e2e/drills -run TestMutations -mutate` builds it without that check: every drill fails then, but for those\n" +
		"that have nothing to leave out. The last column says what comes of the attack in that build; where another wall still holds, it says which.\n" +
		"\"silence\" is what a machine says to strangers: nothing at all.\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", p.title, p.has)
		b.WriteString("| drill | promise | the attack | the honest side says | check | without it |\n|---|---|---|---|---|---|\n")
		for _, d := range drills() {
			if d.part != p.part {
				continue
			}
			c, then := fmt.Sprintf("`%s` in `%s`", d.check.in, d.check.file), d.check.then
			if d.check.inherent != "" {
				c, then = "-", d.check.inherent
			}
			shows := strings.TrimSpace(strings.ReplaceAll(d.shows, "\n", " "))
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", d.name, d.promise, d.attack, shows, c, then)
		}
		b.WriteString("\nWhat it can still do:\n\n")
		for _, s := range p.still {
			fmt.Fprintf(&b, "- %s\n", s)
		}
	}
	return b.String()
}

// TestPage: README.md is what the drills say.
func TestPage(t *testing.T) {
	want := page()
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("README.md")
	if err != nil || string(got) != want {
		t.Fatalf("README.md is not what the drills say (%v); write it anew: go test ./internal/e2e/drills -run TestPage -update", err)
	}
}
