package drills

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// export fetches the log as an auditor does, once the machines owe it nothing.
func (w *world) export(name string) []byte {
	w.t.Helper()
	w.settle()
	ctx, cancel := w.context()
	defer cancel()
	var b bytes.Buffer
	w.must(w.client(name).Export(ctx, &b))
	return b.Bytes()
}

// settle stops the machines: what they have signed is in apid's hands then.
func (w *world) settle() {
	for _, m := range w.machines {
		if m.stop != nil {
			m.stop()
		}
	}
}

// verify is `tucdesk audit verify`: it knows the team's fingerprint only.
func (w *world) verify(export []byte, previous ...byte) audit.Report {
	w.t.Helper()
	report, err := audit.Verify(bytes.NewReader(export), w.fp, audit.Options{Previous: previous})
	w.must(err)
	return report
}

// verdictOf is what the verifier prints: its class and its first problems.
func verdictOf(r audit.Report) string {
	said := r.Class().String()
	for _, p := range r.Problems {
		said += "\n" + p.String()
	}
	return said
}

// entries reads the log as whoever has the database does.
func (w *world) entries() (out [][]byte) {
	w.t.Helper()
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) (err error) {
		n, err := tx.Audit.Size()
		if err == nil {
			out, err = tx.Audit.Entries(0, int(n))
		}
		return err
	}))
	return out
}

// checkpoint gives the log's newest signed checkpoint.
func (w *world) checkpoint() (note []byte) {
	w.t.Helper()
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) (err error) {
		_, note, err = tx.Audit.Checkpoint()
		return err
	}))
	return note
}

// A line is one entry, as a forger works on it.
type line struct {
	raw   []byte
	entry audit.Entry
	own   bool // signed by the log's key, which the forger has
}

// lines reads the log into what forge takes.
func (w *world) lines() (out []line) {
	w.t.Helper()
	w.settle()
	for _, b := range w.entries() {
		u, err := audit.ParseEntry(b)
		w.must(err)
		e, err := u.InsecureEntry()
		w.must(err)
		out = append(out, line{b, e, u.InsecureSigner() == w.logKey.Kid()})
	}
	return out
}

// forge makes the export of a log that never was, of the lines given: apid's own
// numbered and signed anew with its log key, those of others as they are, a tree
// over all of it, and a signed checkpoint of that.
func (w *world) forge(lines []line) []byte {
	w.t.Helper()
	_, entries, note := w.otherLog(lines)
	return w.write(w.homes["carol"].Roster(), entries, note)
}

// otherLog is a log that never was, and its newest checkpoint.
func (w *world) otherLog(lines []line) (fake *storetest.Model, entries [][]byte, note []byte) {
	w.t.Helper()
	own := audit.NewChain(w.logKey, audit.Link{})
	fake = &storetest.Model{}
	w.must(fake.Tx(context.Background(), teamID, func(tx store.Tx) (err error) {
		for i, l := range lines {
			if l.own {
				if l.raw, err = own.Next(l.entry); err != nil {
					return fmt.Errorf("entry %d: %w", i, err)
				}
			}
			if err := appendRaw(tx.Audit, l.raw); err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
			entries = append(entries, l.raw)
		}
		note, err = audit.NewLog(w.logKey, w.fp, teamID).Sign(tx.Audit)
		return err
	}))
	return fake, entries, note
}

// showOther has apid show one person another log, whole and with proofs of its own, and
// everybody else the true one.
func (w *world) showOther(email string, fake *storetest.Model, note []byte) {
	w.apid.play("GET /v1/audit/checkpoint", func(r *http.Request, body []byte, ask func([]byte) answer) answer {
		if caller(r) != email {
			return ask(body)
		}
		return invent(wire.Checkpoint{Checkpoint: note})(nil, nil, nil)
	})
	w.apid.play("GET /v1/audit/consistency", func(r *http.Request, body []byte, ask func([]byte) answer) answer {
		from, _ := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
		to, _ := strconv.ParseInt(r.URL.Query().Get("to"), 10, 64)
		var out wire.Consistency
		err := fake.View(r.Context(), teamID, func(tx store.Tx) error {
			proof, err := audit.ProveConsistency(tx.Audit, from, to)
			for _, h := range proof {
				out.Proof = append(out.Proof, envelope.Hash(h))
			}
			return err
		})
		if caller(r) != email || err != nil {
			return ask(body)
		}
		return invent(out)(nil, nil, nil)
	})
}

// caller reads the e-mail in a request's access token.
func caller(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), ".")
	claims, _, _ := strings.Cut(rest, ".")
	var who struct{ Email string }
	if b, err := base64.RawURLEncoding.DecodeString(claims); err == nil {
		_ = json.Unmarshal(b, &who) // nobody, then
	}
	return who.Email
}

// knows waits until a home or a machine has seen a checkpoint of at least so many
// entries.
func (w *world) knows(dir string, size int64) {
	w.t.Helper()
	w.until(dir+" has seen the log", func() bool {
		f, err := checkpointfile.Open(filepath.Join(dir, "checkpoints"))
		w.must(err)
		note, _, err := f.Newest()
		if err != nil || note == nil {
			return false
		}
		c, err := audit.InsecureCheckpoint(note)
		return err == nil && c.Size >= size
	})
}

// size gives how many entries the true log has.
func (w *world) size() int64 { return int64(len(w.entries())) }

// judged gives what the verifier says of a forged export.
func (w *world) judged(export []byte, previous ...byte) string {
	w.t.Helper()
	r := w.verify(export, previous...)
	if r.ExitCode() == 0 {
		w.t.Error("MUST NOT HAPPEN: the forged log verifies")
	}
	return verdictOf(r)
}

// appendRaw appends an entry with no question asked.
func appendRaw(log store.Audit, b []byte) error {
	n, err := log.Size()
	if err != nil {
		return err
	}
	hashes, err := tlog.StoredHashes(n, b, log)
	if err != nil {
		return err
	}
	return log.Append(n, b, hashes)
}

// write makes an export of parts.
func (w *world) write(r *roster.Roster, entries [][]byte, note []byte) []byte {
	w.t.Helper()
	var b bytes.Buffer
	w.must(audit.WriteExport(&b, audit.Export{
		Genesis: r.Genesis(), Statements: all(r.Statements(0)), Entries: all(entries), Checkpoint: note,
	}))
	return b.Bytes()
}

func all(list [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range list {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// find gives the first entry of a type and, unless it is empty, an action.
func (w *world) find(lines []line, t audit.Type, action string) int {
	w.t.Helper()
	at := slices.IndexFunc(lines, func(l line) bool { return l.entry.Type == t && (action == "" || l.entry.Action == action) })
	if at < 0 {
		w.t.Fatalf("the log has no %s entry", t)
	}
	return at
}

// treeOf gives the node hashes of a log, in the order in which they are stored.
func (w *world) treeOf(lines []line) (hashes []tlog.Hash) {
	w.t.Helper()
	for i, l := range lines {
		more, err := tlog.StoredHashes(int64(i), l.raw, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			out := make([]tlog.Hash, len(indexes))
			for j, x := range indexes {
				out[j] = hashes[x]
			}
			return out, nil
		}))
		w.must(err)
		hashes = append(hashes, more...)
	}
	return hashes
}
