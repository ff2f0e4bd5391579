package audit_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/internal/token"
)

// onBoth runs a benchmark on either store, so that one run compares them.
func onBoth(b *testing.B, run func(b *testing.B, w *world)) {
	open := func(b *testing.B, address string) *world {
		s, err := engine.Open(context.Background(), address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		w := newWorld(b, s)
		w.session = token.ID{1}
		return w
	}
	b.Run("SQLite", func(b *testing.B) { run(b, open(b, filepath.Join(b.TempDir(), "b.db"))) })
	b.Run("PostgreSQL", func(b *testing.B) {
		c := pgtest.Shared(b)
		name := c.Database(b)
		if _, err := engine.Migrate(b.Context(), c.URL(pgtest.Owner, name), engine.Latest); err != nil {
			b.Fatal(err)
		}
		run(b, open(b, c.URL(pgtest.Apid, name)))
	})
}

// BenchmarkAppend is one entry and one signed checkpoint in one durable
// transaction: what a request costs beside its own effect.
func BenchmarkAppend(b *testing.B) {
	onBoth(b, func(b *testing.B, w *world) {
		e := audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(w.alice, "alice@example.com")}
		for b.Loop() {
			w.says(e)
		}
	})
}

// BenchmarkAppendAgent is 16 uploaded entries in one transaction, verified.
func BenchmarkAppendAgent(b *testing.B) {
	onBoth(b, func(b *testing.B, w *world) {
		e := w.own(audit.Exec, party(w.alice, "alice@example.com"))
		for b.Loop() {
			w.tx(func(tx store.Tx) error {
				for range 16 {
					entry, err := w.agent.Next(e)
					w.must(err)
					if _, err := w.log.Accept(tx.Audit, w.roster, entry); err != nil {
						return err
					}
				}
				return nil
			})
		}
		b.ReportMetric(float64(16*b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}

// BenchmarkVerify verifies an export of 2,000 entries, every fourth with an
// operator's proof.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b, model()).live()
	signIn := audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(w.alice, "alice@example.com")}
	var all []audit.Entry
	for i := range 2000 {
		if i%4 == 0 {
			all = append(all, w.asks(audit.Verdict, token.ActSession, "allow"))
		} else {
			all = append(all, signIn)
		}
	}
	w.tx(func(tx store.Tx) error {
		for _, e := range all {
			if err := w.record(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	export := w.export()
	b.SetBytes(int64(len(export)))
	for b.Loop() {
		r, err := audit.Verify(bytes.NewReader(export), w.roster.TeamFP(), audit.Options{})
		if err != nil || r.ExitCode() != 0 {
			b.Fatal(err, r.Problems)
		}
	}
	b.ReportMetric(float64(2000*b.N)/b.Elapsed().Seconds(), "entries/s")
}
