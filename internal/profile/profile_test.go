package profile

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
)

func enrolled(t *testing.T) *Home {
	t.Helper()
	h, err := Create(filepath.Join(t.TempDir(), "carol"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := roster.Found(roster.Genesis{TeamID: "a", Threshold: 1, Created: 1, Admins: []roster.AdminDevice{{
		MemberID: "carol", Email: "carol@example.com", Roles: []string{},
		Device: roster.DeviceBody{Public: h.Identity.Public(), Recipient: h.Unsealer.Recipient(), Exp: time.Now().Add(time.Hour).Unix()},
	}}}, h.Identity)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.Open(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Enrol(Profile{API: "http://127.0.0.1:1", Rendezvous: "http://127.0.0.1:2", TeamFP: r.TeamFP(), TeamID: "a"}, g); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHome(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
	h := enrolled(t)
	again, err := Open(h.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Identity.Kid() != h.Identity.Kid() || !reflect.DeepEqual(again.Profile, h.Profile) || again.Roster().TeamFP() != h.Roster().TeamFP() {
		t.Error("another home than was made")
	}
	if err := again.Enrol(Profile{TeamFP: envelope.Hash{1}, TeamID: "b", API: "x"}, h.Roster().Genesis()); err == nil {
		t.Error("a home changed its team")
	}
}

// log is an audit log that numbers one device's proofs strictly.
type log struct {
	mu   sync.Mutex
	t    *testing.T
	last audit.Link
	seen map[envelope.Hash]bool
}

type fake struct {
	Seq  uint64        `cbor:"seq"`
	Prev envelope.Hash `cbor:"prev"`
}

func (l *log) take(proof []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, err := envelope.Parse(proof)
	if err != nil {
		l.t.Error(err)
		return false
	}
	hash := envelope.Sum(u.InsecurePayload())
	if l.seen[hash] {
		return true
	}
	var f fake
	if err := envelope.Unmarshal(u.InsecurePayload(), &f); err != nil || f.Seq != l.last.Seq+1 || f.Prev != l.last.Hash {
		l.t.Errorf("proof %+v after %+v (%v)", f, l.last, err)
		return false
	}
	l.last = audit.Link{Seq: f.Seq, Hash: hash}
	l.seen[hash] = true
	return true
}

// TestChain holds that the log sees an unbroken chain whatever happens to
// answers: lost before it, lost after it, or concurrent.
func TestChain(t *testing.T) {
	h := enrolled(t)
	l := &log{t: t, seen: map[envelope.Hash]bool{}}
	sign := func(k audit.Link) ([]byte, error) {
		return envelope.Sign("test", fake{k.Seq + 1, k.Hash}, h.Identity)
	}
	record := func(_ context.Context, p []byte) error { l.take(p); return nil }
	lost := errors.New("lost")
	prove := func(h *Home, send func([]byte) (bool, error)) error {
		return h.Prove(context.Background(), sign, func(_ context.Context, p []byte) (bool, error) { return send(p) }, record)
	}
	good := func(p []byte) (bool, error) { return l.take(p), nil }
	for i, step := range []func([]byte) (bool, error){
		good,
		func([]byte) (bool, error) { return false, lost }, // never arrived
		good, // resends that one first
		func(p []byte) (bool, error) { l.take(p); return false, lost }, // arrived, the answer was lost
		good,
		func(p []byte) (bool, error) { return l.take(p), errors.New("denied") }, // refused, and recorded
		good,
	} {
		err := prove(h, step)
		if (i == 1 || i == 3) != errors.Is(err, lost) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if l.last.Seq != 7 {
		t.Errorf("the log holds %d proofs, want 7", l.last.Seq)
	}
	// While the log can't be told of a pending proof, nothing new is signed.
	if err := prove(h, func([]byte) (bool, error) { return false, lost }); !errors.Is(err, lost) {
		t.Fatal(err)
	}
	sent := false
	err := h.Prove(context.Background(), sign, func(context.Context, []byte) (bool, error) { sent = true; return true, nil },
		func(context.Context, []byte) error { return lost })
	if !errors.Is(err, lost) || sent {
		t.Errorf("%v, sent %v", err, sent)
	}
	// Two processes of one home, many at a time.
	two, err := Open(h.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			home := h
			if i%2 == 1 {
				home = two
			}
			if err := prove(home, good); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l.last.Seq != 28 {
		t.Errorf("the log holds %d proofs, want 28", l.last.Seq)
	}
}
