package drills

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
)

func logDrills() []*drill {
	return []*drill{
		{
			part: malApid, name: "edit its own entry", promise: "an entry says what the operator signed",
			attack: "has the log say that an operator asked for another machine, and signs the whole log anew",
			shows:  "target is not what the operator signed",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).checkAlone",
				old: "err = matchProof(e, c.proof.Body())", new: "_ = matchProof",
				then: "the edited log verifies",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				at := w.find(lines, audit.Verdict, "")
				lines[at].entry.Target = audit.Party{Kid: w.machines["web-2"].kid, Name: "web-2"}
				return w.judged(w.forge(lines))
			},
		},
		{
			part: malApid, name: "name somebody else", promise: "an entry names people as the roster does",
			attack: "leaves an operator's key in an entry, writes another one's name beside it, and signs the whole log anew",
			shows:  "it names a key otherwise than the roster does",
			check: check{
				file: "internal/audit/names.go", in: "(Entry).CheckNames",
				old: "if p.Name != \"\" && p.Name != NameOf(r, p.Kid) {", new: "if false && p.Name != NameOf(r, p.Kid) {",
				then: "the edited log verifies; what auditors see comes from the roster all the same",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				at := w.find(lines, audit.Verdict, "")
				lines[at].entry.Actor.Name = "bob@example.com"
				return w.judged(w.forge(lines))
			},
		},
		{
			part: malApid, name: "edit an agent's entry", promise: "what ran is signed by the machine on which it ran",
			attack: "changes the exit code in a machine's own entry, and signs the whole log anew",
			shows:  "signature: ",
			check: check{
				file: "internal/envelope/envelope.go", in: "(Unverified).Verify",
				old: "if !pub.Verify(context, s.Sig, u.w.Payload) {", new: "if false && !pub.Verify(context, s.Sig, u.w.Payload) {",
				then: "the edited entry breaks its machine's chain, and the log is still found out",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				at := w.find(lines, audit.Exec, "exit")
				e := lines[at].entry
				e.Outcome.Exit = 1
				mallory := w.identity()
				raw, err := envelope.Sign(e.Context(), e, mallory)
				w.must(err)
				lines[at].raw = renamed(raw, mallory.Kid(), w.machines["web-1"].kid)
				return w.judged(w.forge(lines))
			},
		},
		{
			part: malApid, name: "drop an operator's request", promise: "each device numbers what it signs, so that a gap shows",
			attack: "leaves out that an operator has asked for an approval, and signs the whole log anew",
			shows:  "incomplete\nincomplete: entry",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).finishOperators",
				old: "case l.seq != last.seq+1:", new: "case false && l.seq != last.seq+1:",
				then: "the next proof of the device does not follow the one before",
			},
			play: func(w *world) string {
				alice := w.as("alice")
				alice.ask("web-1", w.canary(0).held())
				alice.fine("web-1")
				lines := w.lines()
				at := w.find(lines, audit.Ask, "")
				return w.judged(w.forge(slices.Delete(lines, at, at+1)))
			},
		},
		{
			part: malApid, name: "drop what ran", promise: "each machine numbers what it signs, so that a gap shows",
			attack: "leaves out a machine's entries about one command, and signs the whole log anew",
			shows:  "incomplete\nincomplete: entry",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).checkChain",
				old: "case at.Seq > last.Seq+1:", new: "case false && at.Seq > last.Seq+1:",
				then: "the machine's next entry does not follow the one before",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := slices.DeleteFunc(w.lines(), func(l line) bool { return l.entry.Type == audit.Exec })
				return w.judged(w.forge(lines))
			},
		},
		{
			part: malApid, name: "speak for an agent", promise: "the log's key may not sign what only a machine can say",
			attack: "adds an entry of its own that a command ran on a machine, and signs the whole log anew",
			shows:  "the log's key may not sign what only an agent can say",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).checkTogether",
				old: "if !e.Type.byRecorder() {", new: "if false && !e.Type.byRecorder() {",
				then: "the entry still lacks the word of the operator whom it names",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				start := lines[w.find(lines, audit.SessionStart, "")]
				start.entry.Type, start.entry.Action, start.entry.Proof, start.own = audit.Exec, "start", nil, true
				return w.judged(w.forge(append(lines, start)))
			},
		},
		{
			part: malApid, name: "say it twice", promise: "one proof stands for one request",
			attack: "records an operator's one request a second time, as another, and signs the whole log anew",
			shows:  "one proof stands for two verdict entries",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).checkProof",
				old: "if _, twice := v.proofs[use]; twice && e.Type != Refusal {", new: "if _, twice := v.proofs[use]; false && twice {",
				then: "the log verifies with a request that was never made",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				return w.judged(w.forge(append(lines, lines[w.find(lines, audit.Verdict, "")])))
			},
		},
		{
			part: malApid, name: "truncate the log", promise: "whoever has an earlier checkpoint finds what was cut off",
			attack: "hands out the log without its newest entries, under a true signature of the shorter one",
			shows:  "a signed checkpoint of",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).checkEarlier",
				old: "	if c.Size > limit {\n", new: "	if c.Size > limit {\n		return\n	}\n	if c.Size > limit {\n",
				then: "the cut log verifies",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				seen := w.checkpoint()
				// Up to before the session: nothing in what is left names what is gone.
				export := w.forge(lines[:w.find(lines, audit.Verdict, "")])
				if r := w.verify(export); r.ExitCode() != 0 {
					w.t.Logf("without an earlier checkpoint: %s", verdictOf(r))
				}
				return w.judged(export, seen...)
			},
		},
		{
			part: malApid, name: "fork the log", promise: "two stories of one length have two roots, and each is signed",
			attack: "shows one auditor a log, and then another one of the same length",
			shows:  "it told two stories",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).checkEarlier",
				old:  "if root, err := tlog.TreeHash(c.Size, &v.tree); err != nil || root != c.Root {",
				new:  "if root, err := tlog.TreeHash(c.Size, &v.tree); err != nil || false && root != c.Root {",
				then: "the second story verifies beside the first one's checkpoint",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				seen := w.checkpoint()
				at := w.find(lines, audit.SignIn, "")
				lines[at].entry.Timestamp++
				return w.judged(w.forge(lines), seen...)
			},
		},
		{
			part: malApid, name: "show two people two logs", promise: "two people who were shown two logs find it when they meet one machine",
			attack: "shows one operator a whole log in which another one's request does not stand, with proofs that fit, and everybody else the true one",
			shows:  "the audit log tells two stories",
			check: check{
				file: "internal/checkpointfile/checkpointfile.go", in: "(*File).compare",
				old: "err = audit.CheckConsistency(proof, older, newer)\n\t}\n\tif err != nil {", new: "err = audit.CheckConsistency(proof, older, newer)\n\t}\n\tif false {",
				then: "machine and operators go on, each with its own log, and neither says a word",
			},
			play: func(w *world) string {
				alice, beth := w.as("alice"), filepath.Join(w.dir, "beth")
				alice.fine("web-1")
				w.knows(filepath.Join(w.dir, "alice"), 1)
				machine := w.machines["web-1"]
				w.settle()
				lines := w.lines()
				at := w.find(lines, audit.Verdict, "")
				fake, _, note := w.otherLog(slices.Delete(lines, at, at+1))
				w.showOther("beth@example.com", fake, note)
				w.startAgent("web-1")
				// The log of alice reaches the machine in her next handshake.
				w.as("alice").fine("web-1")
				w.knows(machine.dir, 1)
				_, err := w.as("beth").Sync(w.t.Context())
				w.must(err)
				w.knows(beth, 1)
				w.as("beth").fine("web-1")
				said := w.alarm("beth")
				machine.await(w, "the audit log tells two stories")
				w.find(w.lines(), audit.Alarm, "log-fork")
				for _, dir := range []string{beth, machine.dir} {
					if kept, err := filepath.Glob(filepath.Join(dir, "checkpoints", "fork-*")); len(kept) != 1 || err != nil {
						w.t.Errorf("NOT SHOWN: %s keeps %d pieces of evidence, %v", dir, len(kept), err)
					}
				}
				return said
			},
		},
		{
			part: malApid, name: "rewrite everything", promise: "a log is a team's by the fingerprint that people know, not by what the file says",
			attack: "founds a team of the same name with its own admin, and hands out that team's log",
			shows:  "this is the export of another team",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).genesis",
				old: "if r.TeamFP() != v.report.TeamFP {", new: "if false && r.TeamFP() != v.report.TeamFP {",
				then: "its checkpoint is still not one of this team's log",
			},
			play: func(w *world) string {
				mallory := w.identity()
				body := w.device("carol")
				body.Public = mallory.Public()
				genesis, err := roster.Found(roster.Genesis{
					TeamID: teamID, Threshold: 1, Created: time.Now().Unix(), Demo: true,
					Admins: []roster.AdminDevice{{MemberID: "carol", Email: "carol@example.com", Roles: []string{}, Device: body}},
				}, mallory)
				w.must(err)
				r, err := roster.Open(genesis)
				w.must(err)
				return w.judged(w.write(r, nil, w.checkpoint()))
			},
		},
	}
}
