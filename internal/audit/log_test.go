package audit_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/fault"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
)

func TestChain(t *testing.T) {
	w := newWorld(t, model())
	e := w.own(audit.Exec, party(w.web1, "web-1"))
	c := audit.NewChain(w.web1, audit.Link{})
	first, err := c.Next(e)
	w.must(err)
	bad := e
	bad.Action = "\x1b"
	if _, err := c.Next(bad); !errors.Is(err, audit.ErrMalformed) {
		t.Errorf("a control in a word: %v", err)
	}
	if c.Last().Seq != 1 {
		t.Errorf("an entry that was refused used up a number: %d", c.Last().Seq)
	}
	// A chain that is read back from storage goes on where it was.
	link, err := audit.LinkOf(first)
	if err != nil || link != c.Last() {
		t.Fatalf("LinkOf = %+v, %v; want %+v", link, err, c.Last())
	}
	second, err := audit.NewChain(w.web1, link).Next(e)
	w.must(err)
	u, err := audit.ParseEntry(second)
	w.must(err)
	v, err := u.Verify(w.roster.Key)
	w.must(err)
	if got := v.Entry().Signer; got != (audit.Position{Seq: 2, Prev: link.Hash}) || v.Signer() != w.web1.Kid() {
		t.Errorf("position %+v by %s", got, v.Signer().Short())
	}
}

func TestEntryBounds(t *testing.T) {
	w := newWorld(t, model())
	good := w.own(audit.Exec, party(w.web1, "web-1"))
	for name, change := range map[string]func(*audit.Entry){
		"no team":         func(e *audit.Entry) { e.TeamFP = envelope.Hash{} },
		"no team id":      func(e *audit.Entry) { e.TeamID = "" },
		"no time":         func(e *audit.Entry) { e.Timestamp = 0 },
		"no actor":        func(e *audit.Entry) { e.Actor.Kid = key.Kid{} },
		"no head":         func(e *audit.Entry) { e.RosterHead = roster.Head{} },
		"no action":       func(e *audit.Entry) { e.Action = "" },
		"unknown type":    func(e *audit.Entry) { e.Type = "party" },
		"no type":         func(e *audit.Entry) { e.Type = "" },
		"bidi name":       func(e *audit.Entry) { e.Actor.Name = "a\u202eb" },
		"control in name": func(e *audit.Entry) { e.Target.Name = "a\x1bb" },
		"long action":     func(e *audit.Entry) { e.Action = strings.Repeat("a", 65) },
		"long rule":       func(e *audit.Entry) { e.Policy.Rule = strings.Repeat("a", 257) },
		"long reason":     func(e *audit.Entry) { e.Outcome.Reason = strings.Repeat("a", 1025) },
		"not UTF-8":       func(e *audit.Entry) { e.Outcome.Reason = "\xff" },
		"signal":          func(e *audit.Entry) { e.Outcome.Signal = "é" },
		"many decisions":  func(e *audit.Entry) { e.Approvals = make([][]byte, 17) },
		"too big":         func(e *audit.Entry) { e.Command.Sealed = make([]byte, audit.MaxEntry) },
	} {
		e := good
		change(&e)
		if _, err := audit.NewChain(w.web1, audit.Link{}).Next(e); !errors.Is(err, audit.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := audit.NewChain(key.Identity{}, audit.Link{}).Next(good); err == nil {
		t.Error("the zero identity signs")
	}
	if _, err := audit.ParseEntry(make([]byte, audit.MaxEntry+1)); !errors.Is(err, audit.ErrMalformed) {
		t.Errorf("a large entry: %v", err)
	}
}

// TestEntryTampering flips every bit of an entry.
func TestEntryTampering(t *testing.T) {
	w := newWorld(t, model())
	b, err := w.agent.Next(w.own(audit.Exec, party(w.web1, "web-1")))
	w.must(err)
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			u, err := audit.ParseEntry(c)
			if err != nil {
				continue
			}
			if _, err := u.Verify(w.roster.Key); err == nil {
				t.Fatalf("bit %d of byte %d flipped, and it verifies", bit, i)
			}
		}
	}
}

func TestRecordAndAccept(t *testing.T) {
	w := newWorld(t, model())
	actor := party(w.web1, "web-1")
	var out [][]byte
	for range 3 {
		b, err := w.agent.Next(w.own(audit.Exec, actor))
		w.must(err)
		out = append(out, b)
	}
	fork, err := audit.NewChain(w.web1, audit.Link{}).Next(w.own(audit.Refusal, actor))
	w.must(err)
	stranger, err := audit.NewChain(identity(66), audit.Link{}).Next(w.own(audit.Exec, actor))
	w.must(err)
	device, err := audit.NewChain(w.alice, audit.Link{}).Next(w.own(audit.Exec, actor))
	w.must(err)
	foreign := w.own(audit.Exec, actor)
	foreign.TeamID = "umbra"
	elsewhere, err := audit.NewChain(w.web1, audit.Link{}).Next(foreign)
	w.must(err)
	verdict, err := audit.NewChain(w.web1, audit.Link{}).Next(w.own(audit.Verdict, actor))
	w.must(err)
	other := w.own(audit.Exec, actor)
	other.Target = party(w.bob, "")
	about, err := audit.NewChain(w.web1, audit.Link{}).Next(other)
	w.must(err)
	for _, step := range []struct {
		name  string
		entry []byte
		added bool
		err   error
	}{
		{"gap", out[1], false, audit.ErrGap},
		{"stranger", stranger, false, envelope.ErrUnknownSigner},
		{"device", device, false, audit.ErrSigner},
		{"foreign", elsewhere, false, audit.ErrForeign},
		{"type", verdict, false, audit.ErrSigner},
		{"about another", about, false, audit.ErrSigner},
		{"first", out[0], true, nil},
		{"again", out[0], false, nil},
		{"fork", fork, false, audit.ErrFork},
		{"second", out[1], true, nil},
		{"third", out[2], true, nil},
		{"all again", out[0], false, nil},
		{"last again", out[2], false, nil},
		{"not an entry", []byte("x"), false, envelope.ErrMalformed},
	} {
		w.tx(func(tx store.Tx) error {
			added, err := w.log.Accept(tx.Audit, w.roster, step.entry)
			if added != step.added || !errors.Is(err, step.err) || (err == nil) != (step.err == nil) {
				t.Errorf("%s: %v, %v; want %v, %v", step.name, added, err, step.added, step.err)
			}
			return nil
		})
	}
	w.tx(func(tx store.Tx) error {
		if _, _, err := w.log.Record(tx.Audit, w.own(audit.Exec, actor)); !errors.Is(err, audit.ErrSigner) {
			t.Errorf("apid records what an agent says: %v", err)
		}
		return nil
	})
}

// TestSignRefusesAnotherStory restores the log to an earlier state behind the
// checkpoint that it has signed.
func TestSignRefusesAnotherStory(t *testing.T) {
	w := newWorld(t, model()).live()
	note := w.checkpoint()
	again := newWorld(t, model())
	// The same number of entries, other ones.
	for again.entries() < w.entries() {
		again.says(audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(again.alice, "")})
	}
	for name, stored := range map[string]struct {
		size int64
		note []byte
	}{
		"other root":  {w.entries(), note},
		"longer log":  {w.entries() + 5, note},
		"not a note":  {w.entries(), []byte("x")},
		"other log's": {w.entries(), bytes.Replace(note, []byte("tucdesk.app"), []byte("tucdesk.bad"), 1)},
	} {
		err := again.store.Tx(context.Background(), teamID, func(tx store.Tx) error {
			if err := tx.Audit.SetCheckpoint(stored.size, stored.note); err != nil {
				return err
			}
			_, err := again.log.Sign(tx.Audit)
			return err
		})
		if !errors.Is(err, audit.ErrInconsistent) {
			t.Errorf("%s: Sign = %v, want ErrInconsistent", name, err)
		}
	}
}

func (w *world) entries() (n int64) {
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) (err error) {
		n, err = tx.Audit.Size()
		return err
	}))
	return n
}

func TestSignIsStable(t *testing.T) {
	w := newWorld(t, model())
	before := w.checkpoint()
	w.tx(func(store.Tx) error { return nil })
	if !bytes.Equal(before, w.checkpoint()) {
		t.Error("nothing was added, and the checkpoint is another")
	}
}

// TestFaultyLog fails each call that recording makes, before and after its
// effect. The export stays good, and what was acknowledged is in it.
func TestFaultyLog(t *testing.T) {
	w := newWorld(t, model()).live()
	signIn := func(s store.Store) error {
		return s.Tx(context.Background(), teamID, func(tx store.Tx) error {
			if err := w.record(tx, audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(w.alice, "")}); err != nil {
				return err
			}
			_, err := w.log.Sign(tx.Audit)
			return err
		})
	}
	plan := new(fault.Plan)
	w.must(signIn(fault.Store(w.store, plan)))
	for call, name := range plan.Calls() {
		for _, when := range []fault.When{fault.Before, fault.After} {
			before := w.entries()
			err := signIn(fault.Store(w.store, &fault.Plan{Call: call + 1, When: when}))
			if err == nil {
				t.Errorf("%s failed, and Record did not say so", name)
			}
			grew := w.entries() - before
			if committed := name == "tx.commit" && when == fault.After; committed != (grew == 1) || grew > 1 {
				t.Errorf("%s failed (%v): %d entries more", name, when, grew)
			}
			w.must(signIn(w.store))
		}
	}
	if r := verify(t, w.export(), w.roster.TeamFP(), audit.Options{}); r.ExitCode() != 0 {
		t.Error(r.Problems)
	}
}

func TestCheckpoint(t *testing.T) {
	fp := envelope.Sum([]byte("team"))
	id := identity(5)
	c := audit.Checkpoint{Origin: audit.Origin(fp), Size: 42, Root: tlog.Hash{1, 2, 3}}
	note, err := audit.SignCheckpoint(c, id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := audit.VerifyCheckpoint(note, fp, identity(9).Public(), id.Public()); err != nil || got != c {
		t.Fatalf("VerifyCheckpoint = %+v, %v", got, err)
	}
	if got, err := audit.InsecureCheckpoint(note); err != nil || got != c {
		t.Errorf("InsecureCheckpoint = %+v, %v", got, err)
	}
	for name, err := range map[string]error{
		"other team": second(audit.VerifyCheckpoint(note, envelope.Sum([]byte("x")), id.Public())),
		"other key":  second(audit.VerifyCheckpoint(note, fp, identity(9).Public())),
		"no key":     second(audit.VerifyCheckpoint(note, fp)),
		"zero key":   second(audit.VerifyCheckpoint(note, fp, key.Public{})),
	} {
		if err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	for i := range note {
		for bit := range 8 {
			b := bytes.Clone(note)
			b[i] ^= 1 << bit
			if _, err := audit.VerifyCheckpoint(b, fp, id.Public()); err == nil {
				t.Fatalf("bit %d of byte %d flipped, and it verifies", bit, i)
			}
		}
	}
	// A witness that is not known here does not matter, if its line is well formed.
	cosigned := append(bytes.Clone(note), "— witness.example mJirIklj\n"...)
	if _, err := audit.VerifyCheckpoint(cosigned, fp, id.Public()); err != nil {
		t.Errorf("with a witness: %v", err)
	}
	loose := append(bytes.Clone(note), "— witness.example mJirIklk=\n"...)
	if _, err := audit.VerifyCheckpoint(loose, fp, id.Public()); !errors.Is(err, audit.ErrMalformed) {
		t.Errorf("with loose base64: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestProof(t *testing.T) {
	w := newWorld(t, model()).live()
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) error {
		size, note, err := tx.Audit.Checkpoint()
		w.must(err)
		all, err := tx.Audit.Entries(0, 100)
		w.must(err)
		for i := range size {
			p, err := audit.Prove(tx.Audit, i, all[i], note)
			w.must(err)
			b := p.Marshal()
			if len(b) > 3<<10 {
				t.Errorf("the proof of entry %d has %d bytes", i, len(b))
			}
			q, err := audit.ParseProof(b)
			w.must(err)
			c, err := q.Check(w.roster.TeamFP(), w.logKey.Public())
			if err != nil || c.Size != size || !bytes.Equal(q.Entry, all[i]) || q.Index != i {
				t.Errorf("entry %d: %+v, %v", i, c, err)
			}
			if i != 9 {
				continue
			}
			for at := range b {
				d := bytes.Clone(b)
				d[at] ^= 1 << (at % 8)
				q, err := audit.ParseProof(d)
				if err != nil {
					continue
				}
				if _, err := q.Check(w.roster.TeamFP(), w.logKey.Public()); err == nil {
					t.Errorf("byte %d flipped, and it checks", at)
				}
			}
		}
		for _, i := range []int64{-1, size, 1 << 40} {
			if _, err := audit.Prove(tx.Audit, i, all[0], note); err == nil {
				t.Errorf("there is a proof of entry %d", i)
			}
		}
		return nil
	}))
}

// TestConsistency checks proofs between all sizes of a log, and that none fits
// another log.
func TestConsistency(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(r, "entries")
		m := rapid.IntRange(0, n).Draw(r, "older")
		other := rapid.IntRange(0, n-1).Draw(r, "changed")
		log, forged := tree(n, -1), tree(n, other)
		at := func(l *hashes, size int) audit.Checkpoint {
			root, err := tlog.TreeHash(int64(size), l)
			if err != nil {
				r.Fatal(err)
			}
			return audit.Checkpoint{Origin: "o", Size: int64(size), Root: root}
		}
		p, err := audit.ProveConsistency(log, int64(m), int64(n))
		if err != nil {
			r.Fatal(err)
		}
		if err := audit.CheckConsistency(p, at(log, m), at(log, n)); err != nil {
			r.Fatalf("%d to %d: %v", m, n, err)
		}
		if err := audit.CheckConsistency(p, at(forged, m), at(log, n)); err == nil && other < m {
			r.Fatalf("%d to %d: another log fits", m, n)
		}
		if m > 0 {
			if err := audit.CheckConsistency(p, at(log, m), audit.Checkpoint{Origin: "p", Size: int64(n), Root: at(log, n).Root}); !errors.Is(err, audit.ErrForeign) {
				r.Fatalf("another origin: %v", err)
			}
		}
	})
}

// hashes are the node hashes of a tree.
type hashes struct{ all []tlog.Hash }

func (h *hashes) ReadHashes(at []int64) (got []tlog.Hash, _ error) {
	for _, i := range at {
		got = append(got, h.all[i])
	}
	return got, nil
}

// tree makes a log of n entries, of which one is changed.
func tree(n, changed int) *hashes {
	h := new(hashes)
	for i := range n {
		e := []byte{byte(i)}
		if i == changed {
			e = []byte("changed")
		}
		more, err := tlog.StoredHashes(int64(i), e, h)
		if err != nil {
			panic(err)
		}
		h.all = append(h.all, more...)
	}
	return h
}

func FuzzParseEntry(f *testing.F) {
	w := newWorld(f, model())
	for _, kind := range []audit.Type{audit.Exec, audit.SessionEnd, audit.Refusal} {
		b, err := w.agent.Next(w.own(kind, party(w.web1, "web-1")))
		w.must(err)
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := audit.ParseEntry(b)
		if err != nil {
			return
		}
		u.InsecureEntry()
		v, err := u.Verify(w.roster.Key)
		if err == nil && !bytes.Equal(v.Bytes(), b) {
			t.Error("an entry has two forms")
		}
	})
}

func FuzzReadExport(f *testing.F) {
	w := newWorld(f, model()).live()
	good := w.export()
	records := split(f, good)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(join(records[:1]))
	f.Add(join([]record{records[0], records[len(records)-1]}))
	f.Add([]byte(header))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := audit.Verify(bytes.NewReader(b), w.roster.TeamFP(), audit.Options{})
		if err != nil {
			t.Errorf("an error for what is in the file: %v", err)
		}
		if r.ExitCode() == 0 && !bytes.Equal(b, good) {
			t.Error("another file passes")
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	fp := envelope.Sum([]byte("team"))
	good, err := audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(fp), Size: 3, Root: tlog.Hash{1}}, identity(5))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(slices.Clone(good), "— w x\n"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := audit.VerifyCheckpoint(b, fp, identity(5).Public())
		if err == nil && c.Size != 3 {
			t.Error("a checkpoint that nobody signed")
		}
		audit.InsecureCheckpoint(b)
	})
}

func FuzzParseProof(f *testing.F) {
	f.Add(audit.Proof{Index: 5, Hashes: tlog.RecordProof{{1}, {2}}, Checkpoint: []byte("o\n7\nx\n\n— o x\n"), Entry: []byte("e")}.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := audit.ParseProof(b)
		if err == nil && !bytes.Equal(p.Marshal(), b) {
			t.Error("a proof has two forms")
		}
	})
}
