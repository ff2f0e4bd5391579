// Package sessions is what apid keeps of sessions: when one was granted, and what its
// agent has said of it since. Nobody believes it who could be harmed: agents judge by
// what operators and admins have signed.
//
// Invariants:
//   - a row follows only what its own agent has signed, and never leaves its end;
//   - whoever is not an auditor sees the sessions of their own devices, the running shells
//     of others that policy lets them observe or join, and no others.
//
// It must not import another service, tui or backend.
package sessions

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// States of a session's row.
const (
	Granted = "granted"
	Started = "started"
	Ended   = "ended"
)

// A Body is what the store keeps of a grant.
type Body struct {
	Kind    string     `cbor:"kind"`
	As      string     `cbor:"as"`
	Grant   []byte     `cbor:"grant"`
	StartBy int64      `cbor:"start_by"`
	Actor   wire.Actor `cbor:"actor"`
	// End is the number of the log's entry about the session's end, plus one; 0
	// while there is none.
	End uint64 `cbor:"end,omitzero"`
	// Away is since when nobody is at its terminal, in Unix seconds; 0: somebody is.
	Away int64 `cbor:"away,omitzero"`
	// Gate is the level at which the exec gate holds in it, as its agent has said when
	// its shell began; "" where there is none to be said.
	Gate string `cbor:"gate,omitzero"`
	// Use is what relays have said of it.
	Use Use `cbor:"use,omitzero"`
}

// Read gives the body of a row.
func Read(row store.Session) (b Body, err error) {
	return b, envelope.Unmarshal(row.Body, &b)
}

// EndEntry gives the number of the log's entry about a session's end.
func EndEntry(row store.Session) (uint64, bool) {
	b, err := Read(row)
	if err != nil || b.End == 0 {
		return 0, false
	}
	return b.End - 1, true
}

// Follow gives a session's row as it is after an entry of an agent's, which is the log's
// newest; false if that changes none.
func Follow(tx store.Tx, agent key.Kid, e audit.Entry) (row store.Session, changed bool, err error) {
	switch e.Type {
	case audit.SessionStart, audit.SessionEnd, audit.SessionDetach, audit.SessionAttach:
	case audit.Exec:
		if e.GateLevel() == "" {
			return row, false, nil
		}
	default:
		return row, false, nil
	}
	row, err = tx.Sessions.Get(e.SessionID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.Agent != agent || row.State == Ended && e.Type != audit.SessionEnd) {
		return row, false, nil
	}
	if err != nil {
		return row, false, err
	}
	b, err := Read(row)
	if err != nil {
		return row, false, err
	}
	switch e.Type {
	case audit.SessionStart:
		row.State = Started
	case audit.Exec:
		b.Gate = e.GateLevel()
	case audit.SessionDetach:
		b.Away = e.Timestamp
	case audit.SessionAttach:
		b.Away = 0
	case audit.SessionEnd:
		row.State = Ended
		if b.End == 0 {
			size, err := tx.Audit.Size()
			if err != nil {
				return row, false, err
			}
			b.End = uint64(size)
		}
	}
	row.Body, err = envelope.Marshal(b)
	return row, err == nil, err
}

// List gives the latest sessions that a caller may see: those of the member's devices, or
// all of them to auditors.
func List(tx store.Tx, c door.Caller, now time.Time) (wire.SessionsPage, error) {
	page := wire.SessionsPage{Sessions: []wire.Session{}}
	filters := []store.Filter{{}}
	if !c.Audits() {
		filters = []store.Filter{{State: Started}}
		for _, d := range c.Roster.Devices() {
			if d.MemberID == c.Device.MemberID {
				filters = append(filters, store.Filter{Operator: d.Kid})
			}
		}
	}
	var rows []store.Session
	for _, f := range filters {
		some, err := tx.Sessions.List(f, 0, wire.MaxSessions)
		if err != nil {
			return page, err
		}
		rows = append(rows, some...)
	}
	slices.SortFunc(rows, func(a, b store.Session) int { return cmp.Compare(b.Number, a.Number) })
	rows = slices.CompactFunc(rows, func(a, b store.Session) bool { return a.ID == b.ID })
	for _, row := range rows {
		b, err := Read(row)
		if err != nil {
			return page, err
		}
		if !c.Audits() && !sees(c, row, b, now) {
			continue
		}
		if len(page.Sessions) == wire.MaxSessions {
			break
		}
		page.Sessions = append(page.Sessions, wire.Session{
			ID: row.ID, Operator: row.Operator, Target: row.Agent, Kind: b.Kind, As: b.As,
			State: row.State, Started: row.Created.Unix(), EndsBy: row.EndsBy.Unix(), Away: b.Away, Gate: b.Gate,
		})
	}
	return page, nil
}

// sees reports whether a member who is no auditor may know of a session: it is their own,
// or a running shell that policy lets them look at. The machine judges again.
func sees(c door.Caller, row store.Session, b Body, now time.Time) bool {
	d, ok := c.Roster.EverDevice(row.Operator)
	if ok && d.MemberID == c.Device.MemberID {
		return true
	}
	agent, err := c.Roster.Agent(row.Agent, now)
	if err != nil || row.State != Started || policy.Kind(b.Kind) != policy.Shell {
		return false
	}
	may := func(k policy.Kind) bool {
		return policy.Evaluate(c.Roster.Request(c.Device, agent, k, b.As, nil, now), c.Roster.Snapshot()).Effect != policy.Deny
	}
	return may(policy.Observe) || may(policy.Join)
}

// Returns gives the row of the session to whose terminal a proof wants to come back. It is
// not found unless it runs, is the member's own, and is what the proof says.
func Returns(tx store.Tx, r *roster.Roster, member string, p token.Proof) (store.Session, error) {
	row, err := tx.Sessions.Get(p.SessionID)
	if errors.Is(err, store.ErrNotFound) {
		return row, door.NotFound()
	}
	if err != nil {
		return row, err
	}
	b, err := Read(row)
	if err != nil {
		return row, err
	}
	d, known := r.EverDevice(row.Operator)
	if !known || d.MemberID != member || row.Agent != p.Target || b.Kind != p.Kind || b.As != p.As || row.State != Started {
		return row, door.NotFound()
	}
	return row, nil
}
