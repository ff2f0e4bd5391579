// Package dues is what an agent owes apid, on disk until it is taken: audit entries, in
// order, and the sealed segments of recordings. The network half asks for it and says
// what became of it; it reads none of it.
//
// It must not import agent/host.
package dues

import (
	"log/slog"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/recording"
)

// Dues are safe for concurrent use. All fields are required.
type Dues struct {
	Outbox *ledger.Outbox
	Spool  *recording.Spool
	Logger *slog.Logger
	Fail   func(error) // ends the agent: its disk has failed
}

// Owed implements uplink.Inside.
func (d *Dues) Owed(n int) (owed []uplink.Entry) {
	for _, e := range d.Outbox.Pending(n) {
		owed = append(owed, uplink.Entry{Seq: e.Seq, Bytes: e.Bytes})
	}
	return owed
}

// More implements uplink.Inside.
func (d *Dues) More() <-chan struct{} { return d.Outbox.More() }

// Handed implements uplink.Inside.
func (d *Dues) Handed(seq uint64) error {
	err := d.Outbox.Ack(seq)
	if err != nil {
		d.Fail(err)
	}
	return err
}

// Recorded implements uplink.Inside. What can't be read any more is left where it
// is, and told of.
func (d *Dues) Recorded() (uplink.Segment, bool) {
	for {
		p, ok := d.Spool.Next()
		if !ok {
			return uplink.Segment{}, false
		}
		manifest, err := d.Spool.Manifest(p)
		var b []byte
		if err == nil {
			b, err = d.Spool.Segment(p)
		}
		if err == nil {
			return uplink.Segment{Session: p.SessionID, N: p.N, Manifest: manifest, Bytes: b}, true
		}
		d.Logger.Error("a recording's segment can't be read", "session", p.SessionID, "n", p.N, "error", err)
		d.Spool.SetAside(p, err)
	}
}

// MoreRecorded implements uplink.Inside.
func (d *Dues) MoreRecorded() <-chan struct{} { return d.Spool.More() }

// Uploaded implements uplink.Inside.
func (d *Dues) Uploaded(s uplink.Segment) error {
	return d.Spool.Done(recording.Pending{SessionID: s.Session, N: s.N})
}

// Refused implements uplink.Inside.
func (d *Dues) Refused(s uplink.Segment, why error) {
	d.Logger.Error("apid does not take a session's recording; it stays in the spool", "session", s.Session, "n", s.N, "error", why)
	d.Spool.SetAside(recording.Pending{SessionID: s.Session, N: s.N}, why)
}
