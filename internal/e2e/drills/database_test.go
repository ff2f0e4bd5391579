package drills

import (
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/ask"
	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/tui/team"
)

// inDatabase has the attacker write into apid's database. apid, which is honest
// here, is started anew on what is in the file then.
func (w *world) inDatabase(write func(*sql.DB)) {
	w.t.Helper()
	w.must(w.store.Close())
	db, err := sql.Open("sqlite", w.database+"?_pragma=busy_timeout(10000)")
	w.must(err)
	write(db)
	w.must(db.Close())
	w.openAPI()
}

func (w *world) exec(db *sql.DB, query string, args ...any) {
	w.t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

// body changes the stored body of an approval.
func (w *world) body(db *sql.DB, id backend.ApprovalID, change func(*ask.Ask)) {
	w.t.Helper()
	tid, err := token.ParseID(string(id))
	w.must(err)
	var b []byte
	w.must(db.QueryRow("SELECT body FROM approval WHERE id = ?", tid[:]).Scan(&b))
	var a ask.Ask
	w.must(envelope.Unmarshal(b, &a))
	change(&a)
	b, err = envelope.Marshal(a)
	w.must(err)
	w.exec(db, "UPDATE approval SET state = ?, body = ? WHERE id = ?", string(a.Record.State), b, tid[:])
}

// snapshot copies the database, as a backup does.
func (w *world) snapshot() string {
	w.t.Helper()
	copied := filepath.Join(w.t.TempDir(), "copy.db")
	db, err := sql.Open("sqlite", w.database+"?_pragma=busy_timeout(10000)")
	w.must(err)
	defer db.Close()
	w.exec(db, "VACUUM INTO ?", copied)
	return copied
}

// restore puts a copy in the database's place. The machines are down meanwhile:
// nobody has the file open.
func (w *world) restore(copied string) {
	w.t.Helper()
	w.settle()
	w.must(w.store.Close())
	for _, name := range []string{w.database + "-wal", w.database + "-shm"} {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
	}
	w.must(os.Rename(copied, w.database))
	w.openAPI()
	for name := range w.machines {
		w.startAgent(name)
	}
}

func databaseDrills() []*drill {
	return []*drill{
		{
			part: malDatabase, name: "write the roster", promise: "rows of the roster are signed objects, not authority",
			attack: "replaces the row that names web-1's key, adds a row with an operator of its own, and replaces the policy's row by one that refuses nothing",
			shows:  "the stored roster of team acme",
			check: check{
				file: "apid/api/rosters/rosters.go", in: "(*Cache).At",
				old: "if r, err = r.Apply(statements...); err != nil {", new: "if r, err = r.Apply(statements...); false && err != nil {",
				then: "apid still finds that the rows do not lead to the head that is stored, and serves nobody",
			},
			play: func(w *world) string {
				said := ""
				mallory := w.identity()
				unsealer, err := key.GenerateUnsealer()
				w.must(err)
				exp := time.Now().Add(time.Hour).Unix()
				r := w.homes["carol"].Roster()
				at := func(seq uint64) roster.Head {
					l, err := roster.Load(r.Genesis(), r.Statements(0)[:seq]...)
					w.must(err)
					return l.Head()
				}
				last := r.Head().Seq
				for name, forge := range map[string]func() ([]byte, roster.Head){
					"a machine's key": func() ([]byte, roster.Head) {
						return w.forgeStatement(at(last-3), roster.KindAgentAdd, roster.AgentAdd{
							Name: "web-1", Public: mallory.Public(), Recipient: unsealer.Recipient(), Tags: map[string]string{"env": "staging"}, LoginUser: "root", Exp: exp,
						})
					},
					"an operator": func() ([]byte, roster.Head) {
						return w.forgeStatement(r.Head(), roster.KindMemberAdd, roster.MemberAdd{
							MemberID: "mallory", Email: "mallory@example.com", Roles: []string{"sre"},
							Device: roster.DeviceBody{Public: mallory.Public(), Recipient: unsealer.Recipient(), Exp: exp},
						})
					},
					"the policy": func() ([]byte, roster.Head) {
						doc := strings.Replace(w.policy, "mkdir", "reboot", 1)
						return w.forgeStatement(at(last-1), roster.KindPolicySet, roster.PolicySet{Version: 1, Hash: envelope.Sum([]byte(doc)), Document: []byte(doc)})
					},
				} {
					before := w.snapshot()
					st, head := forge()
					w.inDatabase(func(db *sql.DB) {
						w.exec(db, "INSERT OR REPLACE INTO roster_statement (team_id, seq, hash, bytes) VALUES (?, ?, ?, ?)", teamID, int64(head.Seq), head.Hash[:], st)
					})
					c := w.canary(0)
					argv := c.low()
					if name == "the policy" {
						argv = c.denied()
					}
					_, err := w.as("alice").run("web-1", argv)
					if err == nil {
						w.t.Errorf("MUST NOT HAPPEN: a session over a roster with %s that nobody signed", name)
					}
					if _, err := w.client("alice").Roster(w.t.Context(), 0); err != nil {
						said = w.apidLogs.String()
						if !strings.Contains(err.Error(), "rows in apid's database do not verify") {
							w.t.Errorf("NOT SHOWN: what is wrong: %v", err)
						}
					} else {
						w.t.Errorf("MUST NOT HAPPEN: apid serves a roster with %s that nobody signed", name)
					}
					w.forgetMarks()
					w.restore(before)
				}
				return said
			},
		},
		{
			part: malDatabase, name: "mark approved", promise: "an approval's row is not an approval",
			attack: "writes into the row of a held request that it is approved",
			shows:  "hands out 0 of 1 signed approvals",
			check: check{
				file: "backend/control/approve.go", in: "(*Backend).collect",
				old: "if len(got) < a.plan.verdict.Obligations.Quorum {", new: "if false && len(got) < a.plan.verdict.Obligations.Quorum {",
				then: "the client goes on, apid takes the row's word for it, and the agent refuses",
			},
			play: func(w *world) string {
				c := w.canary(0)
				alice := w.as("alice")
				id := alice.ask("web-1", c.held())
				w.inDatabase(func(db *sql.DB) {
					w.body(db, id, func(a *ask.Ask) {
						a.Record.State, a.Record.UseUntil = approval.Approved, time.Now().Add(5*time.Minute).Unix()
					})
				})
				err := alice.await(id)
				if _, err := alice.use("web-1", c.held(), id); err == nil {
					w.t.Error("MUST NOT HAPPEN: a session on an approval that nobody gave")
				}
				return w.said(err)
			},
		},
		{
			part: malDatabase, name: "move an approval between rows", promise: "an approval is for one command of one session",
			attack: "copies the decisions on one held request into the row of another",
			shows:  "differs",
			check: check{
				file: "internal/approval/check.go", in: "Check",
				old: "if err := want.same(a); err != nil {", new: "if err := want.same(a); false && err != nil {",
				then: "a command runs that nobody has approved",
			},
			play: func(w *world) string {
				harmless, c := w.canary(0), w.canary(0)
				alice, bob := w.as("alice"), w.as("bob")
				first, second := alice.ask("web-1", harmless.held()), alice.ask("web-1", c.held())
				w.must(bob.decide(first))
				w.inDatabase(func(db *sql.DB) {
					var given ask.Ask
					w.body(db, first, func(a *ask.Ask) { given = *a })
					w.body(db, second, func(a *ask.Ask) {
						a.Decisions, a.Record.State, a.Record.Decisions, a.Record.UseUntil = given.Decisions, given.Record.State, given.Record.Decisions, given.Record.UseUntil
					})
				})
				w.must(alice.await(second))
				_, err := alice.use("web-1", c.held(), second)
				return w.said(err)
			},
		},
		{
			part: malDatabase, name: "swap sealed requests", promise: "an approver signs what the operator signed, and sees it",
			attack: "exchanges the sealed commands of two held requests",
			shows:  "apid shows this request under another name than its operator signed",
			check: check{
				file: "backend/control/review/review.go", in: "Open",
				old:  "if a.ID != ap.ID || a.Operator != ap.Operator || a.Agent != ap.Target || va.Hash() != ap.AskHash {",
				new:  "if false && a.ID != ap.ID {",
				then: "the approver is shown the other command as this request; apid refuses the decision, which names the other",
			},
			play: func(w *world) string {
				alice := w.as("alice")
				first, second := alice.ask("web-1", w.canary(0).held()), alice.ask("web-1", w.canary(0).held())
				w.inDatabase(func(db *sql.DB) {
					var one, two []byte
					w.body(db, first, func(a *ask.Ask) { one = a.Sealed })
					w.body(db, second, func(a *ask.Ask) { two, a.Sealed = a.Sealed, one })
					w.body(db, first, func(a *ask.Ask) { a.Sealed = two })
				})
				return w.said(w.as("bob").decide(first))
			},
		},
		{
			part: malDatabase, name: "forget what was used", promise: "what was granted once starts once, whatever the servers forget",
			attack: "takes an operator's proof from the log, deletes all marks of its use, and has whoever holds apid's key grant it again",
			shows:  "used: this session was used before",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).admit",
				old: "if err := c.used.Check(c.sessionItem(a)); err != nil {", new: "if err := c.used.Check(c.sessionItem(a)); false && err != nil {",
				then: "the agent answers the offer; the handshake wants the operator's key, and nothing runs",
			},
			play: func(w *world) string {
				c := w.canary(1)
				m := w.machines["web-1"]
				_, err := w.as("alice").run("web-1", c.low())
				w.must(err)
				m.await(w, "session ended")
				var proof []byte
				for _, b := range w.entries() {
					u, err := audit.ParseEntry(b)
					w.must(err)
					if e, err := u.InsecureEntry(); err == nil && e.Type == audit.Verdict {
						proof = e.Proof
					}
				}
				w.inDatabase(func(db *sql.DB) {
					for _, table := range []string{"replay", "session", "audit_chain"} {
						w.exec(db, "DELETE FROM "+table)
					}
				})
				return w.refused(w.attack(m, attempt{by: w.identity(), argv: c.low(), proof: proof}))
			},
		},
		{
			part: malDatabase, name: "reorder the log", promise: "the log's root is signed, over every entry and their order",
			attack: "exchanges two neighbouring entries of different signers",
			shows:  "the entries do not give the root that was signed",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).finishCheckpoint",
				old: "case root != c.Root:", new: "case false && root != c.Root:",
				then: "the reordered log verifies",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				at := int64(w.find(lines, audit.SessionStart, ""))
				w.inDatabase(func(db *sql.DB) {
					// The machine's entry before the verdict that let it begin.
					w.exec(db, "UPDATE audit_entry SET bytes = ? WHERE idx = ?", lines[at-1].raw, at)
					w.exec(db, "UPDATE audit_entry SET bytes = ? WHERE idx = ?", lines[at].raw, at-1)
				})
				return w.judged(w.export("dora"))
			},
		},
		{
			part: malDatabase, name: "delete an entry", promise: "a deletion shows",
			attack: "deletes an entry and moves up those that follow",
			shows:  "incomplete: checkpoint: it covers",
			check: check{
				file: "internal/audit/verify.go", in: "(*verification).finishCheckpoint",
				old: "case r.Entries < c.Size:", new: "case false && r.Entries < c.Size:",
				then: "the root and the signer's chain still show it",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				at := w.find(lines, audit.Exec, "exit")
				rest := append(append([]line{}, lines[:at]...), lines[at+1:]...)
				entries := make([][]byte, len(rest))
				for i, l := range rest {
					entries[i] = l.raw
				}
				note := w.checkpoint()
				w.inDatabase(func(db *sql.DB) {
					w.exec(db, "DELETE FROM audit_entry WHERE idx >= ?", at)
					for i, b := range entries[at:] {
						w.exec(db, "INSERT INTO audit_entry (team_id, idx, bytes) VALUES (?, ?, ?)", teamID, at+i, b)
					}
				})
				// apid cuts its export where the log is shorter than its
				// checkpoint; whoever reads the rows gets no further.
				ctx, cancel := w.context()
				defer cancel()
				if err := w.client("dora").Export(ctx, io.Discard); err == nil {
					w.t.Error("apid exports a log that is shorter than its checkpoint")
				}
				return w.judged(w.write(w.homes["carol"].Roster(), entries, note))
			},
		},
		{
			part: malDatabase, name: "rewrite the tree", promise: "apid signs nothing on top of a history that it did not sign",
			attack: "edits an entry and computes the hashes of the tree anew",
			shows:  "audit: the stored log is not the one that was signed",
			check: check{
				file: "internal/audit/log.go", in: "(*Log).extends",
				old: "	if root != c.Root {\n", new: "	if false && root != c.Root {\n",
				then: "apid signs a checkpoint over the edited log",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				lines := w.lines()
				at := w.find(lines, audit.SignIn, "")
				lines[at].raw = append([]byte{}, lines[w.find(lines, audit.Verdict, "")].raw...)
				hashes := w.treeOf(lines)
				w.inDatabase(func(db *sql.DB) {
					w.exec(db, "UPDATE audit_entry SET bytes = ? WHERE idx = ?", lines[at].raw, at)
					for i, h := range hashes {
						w.exec(db, "UPDATE audit_hash SET hash = ? WHERE idx = ?", h[:], i)
					}
				})
				w.startAgent("web-1")
				_, err := w.as("alice").run("web-1", w.canary(0).low())
				w.said(err)
				return w.apidLogs.String()
			},
		},
		{
			part: malDatabase, name: "restore an old state", promise: "apid signs no second history on top of an old state",
			attack: "puts the file of yesterday back",
			shows:  "is older than what the server has signed",
			check: check{
				file: "apid/api/effect.go", in: "(*Server).commit",
				old: "if err := s.marks.Check(t.roster.TeamFP(), audit.Restarts(t.roster), tx.Audit); err != nil {", new: "if err := s.marks.Check(t.roster.TeamFP(), audit.Restarts(t.roster), tx.Audit); false && err != nil {",
				then: "apid goes on and refuses only devices that have signed since",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				old := w.snapshot()
				w.as("alice").fine("web-1")
				w.restore(old)
				// One who has signed nothing since: for her nothing is missing.
				_, err := w.as("beth").run("web-1", w.canary(0).low())
				return w.said(err)
			},
		},
		{
			part: malDatabase, name: "restore an old state and all memory of a newer one", promise: "who has signed since, and who has seen a checkpoint since, finds it",
			attack: "puts the file of yesterday back, and takes away what apid keeps elsewhere of what it has signed; operators and agents go on from today",
			shows:  "the proof does not follow the last one of this device",
			check: check{
				file: "internal/audit/log.go", in: "Follow",
				old: "case at.Seq > seq+1 && back:", new: "case at.Seq > seq+1:",
				then: "the session goes on, and what is missing before it shows when the log is verified",
			},
			play: func(w *world) string {
				alice := w.as("alice")
				alice.fine("web-1")
				old := w.snapshot()
				alice.fine("web-1")
				seen := w.checkpoint()
				w.forgetMarks()
				w.restore(old)
				_, err := w.as("alice").run("web-1", w.canary(0).low())
				said := w.said(err)
				w.settle()
				if r := w.verify(w.export("dora"), seen...); r.Class() != audit.Tampered {
					w.t.Errorf("MUST NOT HAPPEN: an earlier checkpoint does not find the restored log: %s", verdictOf(r))
				}
				return said
			},
		},
		{
			part: malDatabase, name: "restore an old state where a machine remembers", promise: "what a machine has seen of the log comes to light with the next operator who meets it",
			attack: "puts the file of yesterday back, and takes away what apid keeps elsewhere of what it has signed; the next operator has seen nothing since yesterday",
			shows:  "the audit log tells two stories",
			check: check{
				file: "backend/control/link.go", in: "(*link).shake",
				old: "\tb.lookout.Meet(p.agent.Name, est.Peer)\n", new: "",
				then: "the session goes on, and what was lost is known to the machine alone",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				w.knows(filepath.Join(w.dir, "alice"), 1)
				old := w.snapshot()
				before := w.size()
				w.as("beth").fine("web-1")
				_, err := w.as("beth").Sync(w.t.Context())
				w.must(err)
				w.knows(filepath.Join(w.dir, "beth"), before+1)
				w.as("beth").fine("web-1")
				w.knows(w.machines["web-1"].dir, before+1)
				w.forgetMarks()
				w.restore(old)
				w.as("alice").fine("web-1")
				return w.alarm("alice")
			},
		},
		{
			part: malDatabase, name: "let a set-back log go on", promise: "only the team's admins let a log go on from an older state",
			attack: "puts the file of yesterday back, and has apid's keys sign that the rest is lost; afterwards the admin signs the same, and everybody goes on with a gap that shows",
			shows:  "0 of 1 admins have signed",
			check: check{
				file: "internal/roster/apply.go", in: "(*Roster).planRestart",
				old:  "func (r *Roster) planRestart(s statement, signers []key.Kid, b Restart) (func(), error) {\n\tif err := r.needThreshold(s, signers, key.Kid{}); err != nil {",
				new:  "func (r *Roster) planRestart(s statement, signers []key.Kid, b Restart) (func(), error) {\n\tif err := r.needThreshold(s, signers, key.Kid{}); false {",
				then: "apid goes on by its own word, and so does everybody who believes its roster",
			},
			play: func(w *world) string {
				w.as("alice").fine("web-1")
				old := w.snapshot()
				w.as("alice").fine("web-1")
				_, err := w.as("beth").Sync(w.t.Context())
				w.must(err)
				w.knows(filepath.Join(w.dir, "beth"), 1)
				w.restore(old)
				carol := w.as("carol")
				state, err := carol.Client().Restart(w.t.Context())
				w.must(err)
				if !state.SetBack {
					w.t.Error("NOT SHOWN: the log is not said to be set back")
				}
				body := roster.Restart{Size: state.Size, Root: state.Root, Lost: state.Lost, Reason: "nothing is missing"}
				forged, _ := w.forgeStatement(w.head(), roster.KindRestart, body)
				_, err = carol.Client().Restart(w.t.Context(), forged)
				said := w.said(err)
				if err == nil {
					return said
				}
				admin := team.Admin{Control: carol.Backend, Tell: func(sanitize.Text) {}}
				_, err = admin.Restart(w.t.Context(), "the disk is gone", func(team.Pending) (bool, error) { return true, nil })
				w.must(err)
				for _, name := range []string{"alice", "beth"} {
					w.as(name).fine("web-1")
					w.as(name).fine("web-1")
				}
				if len(w.alarms) > 0 {
					w.t.Errorf("an honest restart is an alarm: %v", w.alarms)
				}
				if r := w.verify(w.export("dora")); r.Class() != audit.Incomplete {
					w.t.Errorf("NOT SHOWN: the gap: %s", verdictOf(r))
				}
				return said
			},
		},
	}
}
