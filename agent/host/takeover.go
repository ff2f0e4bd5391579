package host

import (
	"errors"
	"io/fs"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A memory is what the ledger keeps of a session that runs: what was signed, when it
// was admitted and on which roster. From that the admission is made again.
type memory struct {
	V         uint64        `cbor:"v"`
	Proof     []byte        `cbor:"proof"`
	Grant     []byte        `cbor:"grant"`
	Approvals [][]byte      `cbor:"approvals"`
	Warrants  [][]byte      `cbor:"warrants,omitempty"`
	Seq       uint64        `cbor:"seq"`      // of the roster
	Admitted  int64         `cbor:"admitted"` // Unix seconds
	Half      envelope.Hash `cbor:"half"`     // SHA-256 of its secret
	Typists   []string      `cbor:"typists,omitempty"`
}

const memoryVersion = 1

// remember keeps a session for the next keeper, where its half outlives this one.
func (d *ward) remember() error {
	if d.s.cells == nil {
		return nil
	}
	a := d.holder()
	approvals := a.bundle.Approvals
	if approvals == nil {
		approvals = [][]byte{}
	}
	b, err := envelope.Marshal(memory{
		V: memoryVersion, Proof: a.bundle.Proof, Grant: a.bundle.Grant, Approvals: approvals, Warrants: a.bundle.Warrants,
		Seq: a.roster.Head().Seq, Admitted: a.at.Unix(), Half: d.hash, Typists: d.typists.All(),
	})
	if err != nil {
		return err
	}
	if err = d.s.remembered.Put(a.id, b); err != nil {
		d.s.fail(err)
	}
	return err
}

// ids gives the sessions that an earlier keeper has left running.
func ids(r *ledger.Running) (all []token.ID) {
	for id := range r.All() {
		all = append(all, id)
	}
	return all
}

// takeOver waits for the halves of sessions that an earlier keeper has left running.
// What can't be made sense of is not known, and ends.
func (s *sessions) takeOver() error {
	for id, b := range s.remembered.All() {
		a, hash, err := s.checker.readmit(id, b)
		if err == nil && s.cells == nil {
			err = errors.New("sessions have no processes of their own now")
		}
		if err != nil {
			s.logger.Error("a session of an earlier run can't be taken over", "session", token.ID(id), "error", err)
			if err := s.remembered.Remove(id); err != nil {
				return err
			}
			s.abandon(id)
			continue
		}
		d := newWard(s, a)
		d.hash, d.began, d.ran = hash, true, true
		for _, member := range a.typists {
			d.typists.Add(member)
		}
		a.typists = nil
		d.expire = time.NewTimer(0)
		var sink recorder.Sink
		switch k, err := s.spool.Resume(a.id); {
		case err == nil:
			d.sink, sink = k, k
		case !errors.Is(err, fs.ErrNotExist):
			s.logger.Error("a recording can't go on", "session", a.id, "error", err)
		}
		d.half = s.cells.adopt(d, hash, sink)
		s.mu.Lock()
		s.live[a.id] = d
		s.metrics.Sessions.Set(float64(len(s.live)))
		s.mu.Unlock()
	}
	if s.cells == nil {
		return nil
	}
	if r := s.checker.team.Newest(); r != nil {
		s.recheck(r)
	}
	return s.cells.open()
}

// abandon ends the recording of a session that is not known any more.
func (s *sessions) abandon(id token.ID) {
	k, err := s.spool.Resume(id)
	if err == nil {
		err = k.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.logger.Error("a recording stays in the spool until the next start", "session", id, "error", err)
	}
}

// readmit makes an admission again, of what was signed, as of when it was admitted.
func (c *checker) readmit(id token.ID, b []byte) (*admission, [32]byte, error) {
	var m memory
	if err := envelope.Unmarshal(b, &m); err != nil {
		return nil, m.Half, err
	}
	if m.V != memoryVersion {
		return nil, m.Half, errors.New("host: it was begun by another version")
	}
	a := &admission{id: id, at: time.Unix(m.Admitted, 0)}
	a.bundle = token.Bundle{V: token.Version, Proof: m.Proof, Grant: m.Grant, Approvals: m.Approvals, Warrants: m.Warrants}
	proof, err := token.ParseProof(m.Proof)
	if err != nil {
		return nil, m.Half, err
	}
	a.back, a.typists = isReturn(proof), m.Typists
	if a.roster, err = c.team.At(m.Seq); err != nil {
		return nil, m.Half, err
	}
	device, err := a.roster.Device(proof.InsecureSigner(), a.at)
	if err != nil {
		return nil, m.Half, err
	}
	a.operator = &device
	if a.agent, err = a.roster.Agent(c.kid, a.at); err != nil {
		return nil, m.Half, err
	}
	if a.proof, err = c.verifyProof(a, proof, device); err != nil {
		return nil, m.Half, err
	}
	if !a.breakGlass() {
		grant, err := token.ParseGrant(m.Grant)
		if err != nil {
			return nil, m.Half, err
		}
		if a.grant, err = c.verifyGrant(a, grant); err != nil {
			return nil, m.Half, err
		}
	}
	if a.proof.Body().SessionID != id {
		return nil, m.Half, token.ErrMismatch
	}
	a.evaluate(a.at)
	if a.breakGlass() {
		q := c.consent(a, a.roster, a.verdict)
		q.Now = a.at
		if _, a.quorum, err = q.Warrants(a.bundle.Warrants); err != nil {
			return nil, m.Half, err
		}
	}
	return a, m.Half, nil
}
