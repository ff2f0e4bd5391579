package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

func TestGoodExport(t *testing.T) {
	w := newWorld(t, model()).live()
	var visited []audit.Type
	r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{Visit: func(i int64, e audit.VerifiedEntry) error {
		if i != int64(len(visited)) {
			t.Errorf("visited %d after %d", i, len(visited))
		}
		visited = append(visited, e.Entry().Type)
		return nil
	}})
	for _, p := range r.Problems {
		t.Error(p)
	}
	if r.ExitCode() != 0 || r.Entries != 15 || len(visited) != 15 || r.Head != w.roster.Head() || r.TeamID != teamID ||
		r.Checkpoint.Size != 15 || r.Proofs != 3 || r.Decisions != 2 || r.Signers != 2 || !r.Newest.Equal(w.now) {
		t.Errorf("report: %+v", r)
	}
}

// An agent that was shown another log says so in this one, and a reader is told.
func TestAlarm(t *testing.T) {
	w := newWorld(t, model()).live()
	e := w.own(audit.Alarm, party(w.web1, "web-1"))
	e.Action, e.Outcome.Reason = "log-fork", "9 entries, and 9 others"
	w.agentSays(e)
	r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{})
	if r.ExitCode() != 2 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].String(), "9 entries, and 9 others") {
		t.Errorf("exit %d, %v", r.ExitCode(), r.Problems)
	}
	// The log's key can't raise one.
	w.smuggle(w.logKey, e)
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 1 {
		t.Errorf("exit %d, %v", r.ExitCode(), r.Problems)
	}
}

// TestRandomFlips flips one bit in each of 200 random bytes.
func TestRandomFlips(t *testing.T) {
	w := newWorld(t, model()).live()
	good := w.export()
	rnd := rand.New(rand.NewPCG(1, 2))
	flips(t, w, good, 200, func(b []byte, i int) []byte {
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		return b
	})
}

// TestResealedFlips flips a bit in bytes spread over the whole file and makes
// the end record fit, as somebody does who alters it on purpose: then only
// signatures, hashes and structure are left to find it.
func TestResealedFlips(t *testing.T) {
	w := newWorld(t, model()).live()
	records := split(t, w.export())
	total := 0
	for _, r := range records {
		total += len(r.body)
	}
	const n = 300
	flips(t, w, nil, n, func(_ []byte, i int) []byte {
		changed := slices.Clone(records)
		at := i * total / n
		for j, r := range changed {
			if at < len(r.body) {
				changed[j].body = bytes.Clone(r.body)
				changed[j].body[at] ^= 1 << (i % 8)
				break
			}
			at -= len(r.body)
		}
		return join(changed)
	})
}

// flips checks n altered exports, on all processors. alter is called in order.
func flips(t *testing.T, w *world, good []byte, n int, alter func(b []byte, i int) []byte) {
	work := make(chan []byte)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for b := range work {
				r, err := audit.Verify(bytes.NewReader(b), w.roster.TeamFP(), audit.Options{})
				if err != nil || r.ExitCode() == 0 {
					at := 0
					for at < len(good) && good[at] == b[at] {
						at++
					}
					t.Errorf("an altered export passed (first difference at %d): %v", at, err)
				}
			}
		})
	}
	for i := range n {
		work <- alter(bytes.Clone(good), i)
	}
	close(work)
	wg.Wait()
}

func TestCutAnywhere(t *testing.T) {
	w := newWorld(t, model()).live()
	good := w.export()
	for n := 0; n < len(good); n += 293 {
		if r := verify(t, good[:n], w.roster.TeamFP(), audit.Options{}); r.ExitCode() == 0 {
			t.Errorf("the first %d of %d bytes passed", n, len(good))
		}
	}
	if r := verify(t, good[:len(good)-1], w.roster.TeamFP(), audit.Options{}); r.Class() != audit.Incomplete {
		t.Errorf("without its last byte: %v", r.Class())
	}
	if r := verify(t, append(good, 0), w.roster.TeamFP(), audit.Options{}); r.Class() != audit.BadInput {
		t.Errorf("with a byte more: %v", r.Class())
	}
}

// entries gives the places of the entries among records.
func entries(all []record) (at []int) {
	for i, r := range all {
		if r.kind == 'E' {
			at = append(at, i)
		}
	}
	return at
}

// resign makes the checkpoint fit the entries: what the log itself can do.
func resign(t testing.TB, w *world, all []record) []record {
	t.Helper()
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (got []tlog.Hash, _ error) {
		for _, i := range at {
			got = append(got, hashes[i])
		}
		return got, nil
	})
	var n int64
	for _, i := range entries(all) {
		more, err := tlog.StoredHashes(n, all[i].body, read)
		w.must(err)
		hashes = append(hashes, more...)
		n++
	}
	root, err := tlog.TreeHash(n, read)
	w.must(err)
	note, err := audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(w.roster.TeamFP()), Size: n, Root: root}, w.logKey)
	w.must(err)
	all = slices.Clone(all)
	all[len(all)-1].body = note
	return all
}

// TestAlteredOnPurpose takes the side of whoever holds the file, and then of
// the log with its key.
func TestAlteredOnPurpose(t *testing.T) {
	w := newWorld(t, model()).live()
	all := split(t, w.export())
	at := entries(all)
	same := func(t testing.TB, _ *world, all []record) []record { return all }
	for _, hand := range []struct {
		who string
		fix func(testing.TB, *world, []record) []record
	}{{"with the file", same}, {"with the log's key", resign}} {
		for i := range at {
			r := verify(t, join(hand.fix(t, w, slices.Delete(slices.Clone(all), at[i], at[i]+1))), w.roster.TeamFP(), audit.Options{})
			// The last entry of a signer can go unseen if the log signs anew:
			// that is what earlier checkpoints are for.
			last := i == len(at)-1 || i == len(at)-2
			if r.ExitCode() == 0 && !(hand.who == "with the log's key" && last) {
				t.Errorf("%s: entry %d removed, and nothing found", hand.who, i)
			}
			if r := verify(t, join(hand.fix(t, w, slices.Delete(slices.Clone(all), at[i], at[i]+1))), w.roster.TeamFP(), audit.Options{Previous: w.checkpoint()}); r.ExitCode() == 0 {
				t.Errorf("%s: entry %d removed, and the previous checkpoint did not tell", hand.who, i)
			}
			for j := range i {
				swapped := slices.Clone(all)
				swapped[at[i]], swapped[at[j]] = swapped[at[j]], swapped[at[i]]
				if i-j > 3 && j > 0 {
					continue // enough of them
				}
				r := verify(t, join(hand.fix(t, w, swapped)), w.roster.TeamFP(), audit.Options{Previous: w.checkpoint()})
				if r.Class() != audit.Tampered {
					t.Errorf("%s: entries %d and %d swapped: %v", hand.who, j, i, r.Class())
				}
			}
			if i > 0 {
				r := verify(t, join(hand.fix(t, w, slices.Insert(slices.Clone(all), at[i], all[at[i-1]]))), w.roster.TeamFP(), audit.Options{})
				if r.Class() != audit.Tampered {
					t.Errorf("%s: entry %d twice: %v", hand.who, i-1, r.Class())
				}
			}
		}
	}
}

// TestForgeries lets a log that has its key tell lies, one at a time.
func TestForgeries(t *testing.T) {
	alice := func(w *world) audit.Party { return party(w.alice, "alice@example.com") }
	mallory := identity(66)
	for _, test := range []struct {
		name  string
		lie   func(w *world)
		what  string
		class audit.Class
	}{
		{"verdict without a proof", func(w *world) {
			w.says(audit.Entry{Type: audit.Verdict, Action: "exec", Actor: alice(w), SessionID: token.ID{9}})
		}, "proof", audit.Tampered},
		{"verdict of apid's own making", func(w *world) {
			w.says(audit.Entry{Type: audit.Verdict, Action: "exec", Actor: party(w.logKey, "apid"), SessionID: token.ID{9}})
		}, "proof", audit.Tampered},
		{"change of an ask by nobody", func(w *world) {
			w.says(audit.Entry{Type: audit.Approval, Action: "expire", Actor: party(w.bob, "")})
		}, "actor", audit.Tampered},
		{"decision without a decision", func(w *world) {
			w.says(audit.Entry{Type: audit.Approval, Action: "approve", Actor: party(w.bob, "")})
		}, "decision", audit.Tampered},
		{"deny told as approve", func(w *world) {
			e := w.decides(false)
			e.Action = "approve"
			w.says(e)
		}, "decision", audit.Tampered},
		{"decision by another", func(w *world) {
			e := w.decides(true)
			e.Actor = alice(w)
			w.says(e)
		}, "decision", audit.Tampered},
		{"other session", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			e.SessionID = token.ID{9}
			w.says(e)
		}, "proof", audit.Tampered},
		{"other command", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			e.Command.Commitment = envelope.Sum([]byte("another"))
			w.says(e)
		}, "proof", audit.Tampered},
		{"another's name for the operator's key", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			e.Actor.Name = "bob@example.com"
			w.says(e)
		}, "name", audit.Tampered},
		{"another name for the machine's key", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			e.Target.Name = "db-1"
			w.says(e)
		}, "name", audit.Tampered},
		{"a person's name for apid's own key", func(w *world) {
			w.says(audit.Entry{Type: audit.Approval, Action: "expire", Actor: party(w.logKey, "alice@example.com"), SessionID: token.ID{9}})
		}, "name", audit.Tampered},
		{"a person's name for nobody's key", func(w *world) {
			w.says(audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(mallory, "alice@example.com")})
		}, "name", audit.Tampered},
		{"another's name, by an agent", func(w *world) {
			e := w.own(audit.Exec, alice(w))
			e.Actor.Name = "bob@example.com"
			w.smuggle(w.web1, e)
		}, "signer", audit.Tampered},
		{"dated before it was asked", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			w.now = w.now.Add(-2 * time.Minute)
			w.says(e)
		}, "proof", audit.Tampered},
		{"other policy", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			e.Policy.Hash = envelope.Sum([]byte("another"))
			w.says(e)
		}, "proof", audit.Tampered},
		{"other operator", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			e.Actor = party(w.bob, "bob@example.com")
			w.says(e)
		}, "proof", audit.Tampered},
		{"one proof twice", func(w *world) {
			e := w.asks(audit.Verdict, token.ActSession, "allow")
			w.says(e)
			w.says(e)
		}, "proof", audit.Tampered},
		{"a proof left out", func(w *world) {
			w.proof(token.ActSession)
			w.says(w.asks(audit.Verdict, token.ActSession, "allow"))
		}, "operator", audit.Incomplete},
		{"two proofs with one number", func(w *world) {
			w.says(w.asks(audit.Verdict, token.ActSession, "allow"))
			w.proofs--
			w.says(w.asks(audit.Verdict, token.ActSession, "allow", func(p *token.Proof) { p.SessionID = token.ID{8} }))
		}, "operator", audit.Tampered},
		{"proof that does not follow", func(w *world) {
			w.last = envelope.Sum([]byte("elsewhere"))
			w.says(w.asks(audit.Verdict, token.ActSession, "allow"))
		}, "operator", audit.Tampered},
		{"checkpoint from another story", func(w *world) {
			note, err := audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(w.roster.TeamFP()), Size: 3, Root: tlog.Hash{1}}, w.logKey)
			w.must(err)
			w.says(w.asks(audit.Verdict, token.ActSession, "allow", func(p *token.Proof) { p.Checkpoint = note }))
		}, "split view", audit.Tampered},
		{"checkpoint of a longer log", func(w *world) {
			note, err := audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(w.roster.TeamFP()), Size: 300, Root: tlog.Hash{1}}, w.logKey)
			w.must(err)
			w.says(w.asks(audit.Verdict, token.ActSession, "allow", func(p *token.Proof) { p.Checkpoint = note }))
		}, "split view", audit.Tampered},
		{"agent's word in apid's mouth", func(w *world) {
			w.smuggle(w.logKey, w.own(audit.Exec, alice(w)))
		}, "signer", audit.Tampered},
		{"entry by a stranger", func(w *world) {
			w.smuggle(mallory, w.own(audit.Exec, alice(w)))
		}, "signature", audit.Tampered},
		{"entry by a device", func(w *world) {
			w.smuggle(w.alice, w.own(audit.Exec, alice(w)))
		}, "signer", audit.Tampered},
		{"agent in apid's place", func(w *world) {
			w.smuggle(w.web1, w.own(audit.SignIn, party(w.web1, "web-1")))
		}, "signer", audit.Tampered},
		{"agent about another", func(w *world) {
			e := w.own(audit.Exec, party(w.web1, "web-1"))
			e.Target = audit.Party{Kid: mallory.Kid()}
			w.smuggle(w.web1, e)
		}, "signer", audit.Tampered},
		{"agent's session that nobody asked for", func(w *world) {
			w.session = token.ID{42}
			w.agentSays(w.own(audit.SessionStart, alice(w)))
		}, "actor", audit.Tampered},
		{"entry of another team", func(w *world) {
			e := w.own(audit.Exec, party(w.web1, "web-1"))
			e.TeamFP = envelope.Sum([]byte("other"))
			w.smuggle(w.web1, e)
		}, "team", audit.Tampered},
		{"agent's entry left out", func(w *world) {
			_, err := w.agent.Next(w.own(audit.Exec, alice(w)))
			w.must(err)
			b, err := w.agent.Next(w.own(audit.Exec, alice(w)))
			w.must(err)
			w.smuggleBytes(b)
		}, "chain", audit.Incomplete},
		{"roster head from nowhere", func(w *world) {
			e := w.own(audit.Exec, party(w.web1, "web-1"))
			e.RosterHead.Hash = envelope.Sum([]byte("nowhere"))
			w.agentSays(e)
		}, "roster", audit.Tampered},
		{"statement recorded twice", func(w *world) {
			w.says(audit.Entry{Type: audit.Roster, Action: "statement", Actor: party(w.founder, "")})
		}, "roster", audit.Tampered},
		{"not an entry", func(w *world) { w.smuggleBytes([]byte("hello")) }, "form", audit.Tampered},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, model()).live()
			test.lie(w)
			r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{})
			if r.Class() != test.class || !slices.ContainsFunc(r.Problems, func(p audit.Problem) bool { return p.What == test.what }) {
				t.Errorf("%v, want %v about %q; problems: %v", r.Class(), test.class, test.what, r.Problems)
			}
		})
	}
}

func TestUnrecordedStatement(t *testing.T) {
	w := newWorld(t, model()).live()
	st, err := w.roster.Next(w.now, roster.KindThreshold, roster.Threshold{K: 1}, w.founder)
	w.must(err)
	all := split(t, w.export())
	i := entries(all)[0]
	r := verify(t, join(slices.Insert(all, i, record{'S', st})), w.roster.TeamFP(), audit.Options{})
	if r.Class() != audit.Tampered {
		t.Errorf("a statement that the log does not record: %v", r.Class())
	}
	all = split(t, w.export())
	r = verify(t, join(slices.Delete(all, i-1, i)), w.roster.TeamFP(), audit.Options{})
	if r.Class() != audit.Tampered {
		t.Errorf("a recorded statement that is missing: %v", r.Class())
	}
}

func TestForeignFingerprint(t *testing.T) {
	w := newWorld(t, model())
	if r := verify(t, w.export(), envelope.Sum([]byte("other")), audit.Options{}); r.Class() != audit.Tampered {
		t.Errorf("another team's fingerprint: %v", r.Class())
	}
	if r := verify(t, w.export(), envelope.Hash{}, audit.Options{}); r.Class() != audit.Tampered {
		t.Errorf("no fingerprint: %v", r.Class())
	}
}

func TestOldAndYoung(t *testing.T) {
	w := newWorld(t, model()).live()
	opts := audit.Options{MaxAge: 24 * time.Hour, Now: w.now.Add(23 * time.Hour)}
	if r := verify(t, w.export(), w.roster.TeamFP(), opts); r.ExitCode() != 0 {
		t.Errorf("a young log: %v", r.Problems)
	}
	opts.Now = w.now.Add(25 * time.Hour)
	if r := verify(t, w.export(), w.roster.TeamFP(), opts); r.Class() != audit.Incomplete {
		t.Errorf("an old log: %v", r.Class())
	}
}

func TestPreviousCheckpoint(t *testing.T) {
	w := newWorld(t, model())
	before := w.checkpoint()
	w.live()
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{Previous: before}); r.ExitCode() != 0 {
		t.Errorf("a log that has grown: %v", r.Problems)
	}
	later := newWorld(t, model()).live()
	short := later.export()
	later.says(audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(later.alice, "")})
	if r := verify(t, short, later.roster.TeamFP(), audit.Options{Previous: later.checkpoint()}); r.Class() != audit.Tampered {
		t.Errorf("a log that has shrunk: %v", r.Class())
	}
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{Previous: []byte("x")}); r.Class() != audit.BadInput {
		t.Errorf("no checkpoint at all: %v", r.Class())
	}
}

// TestLogKeyRotation changes the log's key with an overlap, and without one.
func TestLogKeyRotation(t *testing.T) {
	w := newWorld(t, model()).live()
	old, fresh := w.logKey, identity(50)
	signIn := audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(w.alice, "")}
	w.state(roster.KindServerKeys, roster.ServerKeys{Log: []key.Public{old.Public(), fresh.Public()}})
	w.logKey, w.log = fresh, audit.NewLog(fresh, w.roster.TeamFP(), teamID)
	w.says(signIn)
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 0 {
		t.Fatalf("during the overlap: %v", r.Problems)
	}
	w.state(roster.KindServerKeys, roster.ServerKeys{Log: []key.Public{fresh.Public()}})
	w.says(signIn)
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 0 {
		t.Fatalf("after the change: %v", r.Problems)
	}
	w.logKey, w.log = old, audit.NewLog(old, w.roster.TeamFP(), teamID)
	w.says(signIn)
	r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{})
	for _, what := range []string{"signer", "checkpoint"} {
		if !slices.ContainsFunc(r.Problems, func(p audit.Problem) bool { return p.What == what && p.Class == audit.Tampered }) {
			t.Errorf("the old key signs on, and no problem about the %s: %v", what, r.Problems)
		}
	}
}

func TestNoLogKey(t *testing.T) {
	w := newWorld(t, model())
	all := split(t, w.export())
	g := all[0]
	r := verify(t, join([]record{g, all[len(all)-1]}), w.roster.TeamFP(), audit.Options{})
	if r.ExitCode() == 0 {
		t.Error("an export without a log key passed")
	}
}

// TestManyProblems shows that harmless problems can't crowd out a grave one.
func TestManyProblems(t *testing.T) {
	w := newWorld(t, model()).live()
	for range 120 {
		_, err := w.agent.Next(w.own(audit.Exec, party(w.web1, "web-1")))
		w.must(err)
		b, err := w.agent.Next(w.own(audit.Exec, party(w.web1, "web-1")))
		w.must(err)
		w.smuggleBytes(b)
	}
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.Class() != audit.Incomplete || r.More == 0 {
		t.Errorf("gaps: %v, %d more", r.Class(), r.More)
	}
	w.smuggle(w.alice, w.own(audit.Exec, party(w.web1, "web-1")))
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.Class() != audit.Tampered || len(r.Problems) > 100 {
		t.Errorf("gaps and a forgery: %v, %d problems", r.Class(), len(r.Problems))
	}
}

func TestVisitEndsVerify(t *testing.T) {
	w := newWorld(t, model())
	stop := errors.New("enough")
	_, err := audit.Verify(bytes.NewReader(w.export()), w.roster.TeamFP(), audit.Options{Visit: func(int64, audit.VerifiedEntry) error { return stop }})
	if !errors.Is(err, stop) {
		t.Errorf("Verify = %v, want the error of Visit", err)
	}
}

// TestReportsQuoteNothing feeds hostile text and expects none of it back.
func TestReportsQuoteNothing(t *testing.T) {
	w := newWorld(t, model()).live()
	for _, hostile := range []string{"\x1b]52;c;AAAA\x07", "\u202egpj"} {
		w.smuggleBytes([]byte(hostile))
		r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{})
		if s := fmt.Sprint(r.Problems); strings.Contains(s, hostile) {
			t.Errorf("a report quotes %q", hostile)
		}
	}
}

// TestRefusals shows that a refused stranger leaves an entry and no alarm.
func TestRefusals(t *testing.T) {
	w := newWorld(t, model()).live()
	w.session = token.ID{99}
	stranger := party(identity(66), "")
	w.agentSays(w.own(audit.Refusal, stranger))
	w.says(audit.Entry{Type: audit.Refusal, Action: "request", Actor: stranger})
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 0 {
		t.Error(r.Problems)
	}
}

// TestReplayedProof: whoever replays a proof has it refused each time. That
// leaves an entry each, and no alarm: or a replay would be a way to make an
// honest log look tampered with.
func TestReplayedProof(t *testing.T) {
	w := newWorld(t, model()).live()
	w.session = token.ID{99}
	asked := w.asks(audit.Verdict, token.ActSession, "allow")
	w.says(asked)
	for range 3 {
		no := w.own(audit.Refusal, asked.Actor)
		no.Proof, no.Command.Commitment = asked.Proof, asked.Command.Commitment
		w.agentSays(no)
	}
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 0 {
		t.Error(r.Problems)
	}
}

func TestDecisionKinds(t *testing.T) {
	// A deny and an expiry are ordinary entries too.
	w := newWorld(t, model()).live()
	w.says(w.decides(false))
	w.says(audit.Entry{Type: audit.Approval, Action: "expire", Actor: party(w.logKey, "apid"), SessionID: token.ID{3}})
	w.session = token.ID{3}
	w.says(w.asks(audit.Ask, token.ActCancel, "", func(p *token.Proof) { p.Commitment = envelope.Hash{} }))
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 0 {
		t.Error(r.Problems)
	}
}
