package sessions

import (
	"math"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// MaxMillis is the last time that a relay may speak of: the year 9999.
const MaxMillis = 253402300799999

// A Use is what a session has used of relays.
type Use struct {
	Sent     uint64 `cbor:"sent"`     // bytes that the operator sent
	Received uint64 `cbor:"received"` // that the agent sent
	Millis   int64  `cbor:"millis"`   // in which it had allocations
	Until    int64  `cbor:"until"`    // end of the last stretch that is counted, Unix milliseconds
}

// Relayed adds a stretch of use to its session's row; store.ErrNotFound if the team has no
// such session. Stretches of one session come in the order of time, so that one which
// begins before the end of the last was counted.
func Relayed(tx store.Tx, u wire.RelayUse) error {
	row, err := tx.Sessions.Get(u.Session)
	if err != nil {
		return err
	}
	b, err := Read(row)
	if err != nil {
		return err
	}
	if u.Began < b.Use.Until {
		return nil
	}
	b.Use = Use{
		Sent: sum(b.Use.Sent, u.Operator), Received: sum(b.Use.Received, u.Agent),
		Millis: min(b.Use.Millis+(u.Ended-u.Began), MaxMillis), Until: max(u.Ended, u.Began+1),
	}
	if row.Body, err = envelope.Marshal(b); err != nil {
		return err
	}
	_, err = tx.Sessions.Update(row)
	return err
}

// sum adds bytes as far as a JSON number can tell them exactly.
func sum(a, b uint64) uint64 {
	const most = 1 << 53
	return min(a+min(b, math.MaxUint64-a), most)
}

// Usage gives a page of sessions with what they used, from the newest on, below a number.
func Usage(tx store.Tx, before uint64) (wire.UsagePage, error) {
	page := wire.UsagePage{Sessions: []wire.SessionUsage{}}
	rows, err := tx.Sessions.List(store.Filter{}, before, wire.MaxUsageRow)
	if err != nil {
		return page, err
	}
	for _, row := range rows {
		b, err := Read(row)
		if err != nil {
			return page, err
		}
		page.Sessions = append(page.Sessions, wire.SessionUsage{
			ID: row.ID, Operator: row.Operator, Target: row.Agent, Started: row.Created.Unix(),
			Seconds: b.Use.Millis / 1000, Sent: b.Use.Sent, Received: b.Use.Received,
		})
	}
	if len(rows) == wire.MaxUsageRow {
		page.Next = rows[len(rows)-1].Number
	}
	return page, nil
}
