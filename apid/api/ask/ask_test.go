package ask

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/sqlite"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func sample(t *testing.T, now time.Time) *Ask {
	t.Helper()
	record, err := approval.NewRecord(token.NewID(), envelope.Sum([]byte("an ask")), key.Kid{1}, "alice", 1, now.Add(time.Minute).Unix(), now)
	if err != nil {
		t.Fatal(err)
	}
	record.Decisions = []approval.Decided{} // as it is read back
	return &Ask{
		Record: record, SessionID: token.NewID(), Target: key.Kid{2}, Kind: "exec", As: "deploy", Commitment: envelope.Sum([]byte("c")),
		PolicyHash: envelope.Sum([]byte("p")), Tier: "high", Rule: "r", Approvers: []string{"role:approver"}, Needs: quorum.Of(1, []string{"role:approver"}), ProofHash: envelope.Sum([]byte("q")),
		Created: now.Unix(), Sealed: []byte("sealed"), Decisions: []wire.SealedDecision{{Decision: []byte("d"), Sealed: []byte("s")}},
	}
}

func TestWriteFindUpdate(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Unix(1_790_000_000, 0)
	a := sample(t, now)
	var got *Ask
	err = db.Tx(t.Context(), "acme", func(tx store.Tx) error {
		if err := a.Write(tx); err != nil {
			return err
		}
		if got, err = Find(tx, a.Record.ID); err != nil {
			return err
		}
		if !reflect.DeepEqual(got, a) {
			t.Errorf("got  %+v\nwant %+v", got, a)
		}
		got.Record.State, got.Record.UseUntil = approval.Approved, now.Add(time.Hour).Unix()
		return got.Write(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), "acme", func(tx store.Tx) error {
		due, err := tx.Approvals.Due(string(approval.Approved), now.Add(30*time.Minute), 1)
		if err != nil || len(due) != 0 {
			t.Errorf("an approved ask is due before its use_until: %v, %v", due, err)
		}
		return a.Write(tx) // read before somebody else's change
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("an old copy was written: %v", err)
	}
	err = db.View(t.Context(), "eve-corp", func(tx store.Tx) error {
		_, err := Find(tx, a.Record.ID)
		return err
	})
	if !errors.Is(err, wire.ErrNotFound) {
		t.Errorf("another team found it: %v", err)
	}
}

func TestWriteRefusesWhatDoesNotFit(t *testing.T) {
	a := sample(t, time.Unix(1_790_000_000, 0))
	a.Sealed = make([]byte, store.MaxBody)
	if err := a.Write(store.Tx{}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// Every field that says what will happen takes part.
func TestIsFor(t *testing.T) {
	a := sample(t, time.Unix(1_790_000_000, 0))
	good := token.Proof{SessionID: a.SessionID, Target: a.Target, Kind: a.Kind, As: a.As, Commitment: a.Commitment}
	if !a.IsFor(good) {
		t.Fatal("not for its own request")
	}
	for name, edit := range map[string]func(*token.Proof){
		"session":    func(p *token.Proof) { p.SessionID[0] ^= 1 },
		"target":     func(p *token.Proof) { p.Target[0] ^= 1 },
		"kind":       func(p *token.Proof) { p.Kind = "shell" },
		"as":         func(p *token.Proof) { p.As = "" },
		"commitment": func(p *token.Proof) { p.Commitment[0] ^= 1 },
	} {
		p := good
		if edit(&p); a.IsFor(p) {
			t.Errorf("another %s passes", name)
		}
	}
}

func TestProblem(t *testing.T) {
	for err, want := range map[error]error{
		approval.ErrExpired:     wire.ErrExpired,
		approval.ErrUsed:        wire.ErrUsed,
		approval.ErrTwice:       wire.ErrUsed,
		approval.ErrClosed:      wire.ErrUsed,
		approval.ErrPending:     wire.ErrHeld,
		approval.ErrSelf:        wire.ErrDenied,
		approval.ErrNotEligible: wire.ErrDenied,
		approval.ErrNotAsker:    wire.ErrDenied,
		approval.ErrMismatch:    wire.ErrDenied,
		approval.ErrMalformed:   wire.ErrMalformed,
		errors.New("new"):       wire.ErrMalformed,
	} {
		if got := Problem(err); !errors.Is(got, want) {
			t.Errorf("%v becomes %v, want %v", err, got, want)
		}
	}
	if !errors.Is(door.NotFound(), wire.ErrNotFound) {
		t.Error("not found is not found")
	}
}

// What is kept to judge who may be told is judged alike, and holds no blob.
func TestOutlineIsSeenAlike(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	a := sample(t, now)
	o := a.Outline()
	if o.Sealed != nil || o.Decisions != nil || o.stored.Body != nil || o.Record.Decisions != nil {
		t.Errorf("the outline holds blobs: %+v", o)
	}
	on := new(roster.Roster)
	for name, c := range map[string]struct {
		caller door.Caller
		sees   bool
	}{
		"asker":   {door.Caller{Roster: on, Device: roster.Device{MemberID: "alice"}}, true},
		"auditor": {door.Caller{Roster: on, Device: roster.Device{MemberID: "dora", Roles: []string{"auditor"}}}, true},
		"other":   {door.Caller{Roster: on, Device: roster.Device{MemberID: "frank", Roles: []string{"sre"}}}, false},
	} {
		if a.Visible(c.caller, now) != c.sees || o.Visible(c.caller, now) != c.sees {
			t.Errorf("%s: the ask is seen: %v, its outline: %v, want %v", name, a.Visible(c.caller, now), o.Visible(c.caller, now), c.sees)
		}
	}
}
