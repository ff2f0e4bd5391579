package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/keyfile"
)

// chain is chain.json. Last is the number and payload hash of the last proof that
// the audit log holds; zero is the start. Pending is a signed proof that may or may not have
// reached the log; it is resent, never replaced, so that no two proofs of this
// device ever bear one number. Later are those that follow it, signed while the log was
// out of reach.
type chain struct {
	Last    audit.Link `json:"last"`
	Pending []byte     `json:"pending,omitempty"`
	Later   [][]byte   `json:"later,omitempty"`
}

// Prove signs the next proof of this device and sends it, under the lock of the
// home, so that proofs of concurrent processes are numbered one after another.
//
// sign gets the link that the proof must follow. send delivers it and tells
// whether the log is known to hold it now, whatever else went wrong; while that
// is not known the proof stays pending. record delivers such a proof, left over
// from a crash or a lost answer, for the log alone.
func (h *Home) Prove(ctx context.Context,
	sign func(audit.Link) ([]byte, error),
	send func(ctx context.Context, proof []byte) (recorded bool, err error),
	record func(ctx context.Context, proof []byte) error,
) error {
	unlock, err := lockedfile.MutexAt(filepath.Join(h.Dir, "chain.lock")).Lock()
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer unlock()
	var c chain
	if err := readJSON(h.chainPath(), &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for c.Pending != nil {
		if err := record(ctx, c.Pending); err != nil {
			return fmt.Errorf("an earlier proof of this device must reach the audit log first: %w", err)
		}
		if c, err = h.advance(c); err != nil {
			return err
		}
	}
	proof, err := sign(c.Last)
	if err != nil {
		return err
	}
	c.Pending = proof
	if err := h.storeChain(c); err != nil {
		return err
	}
	recorded, err := send(ctx, proof)
	if recorded {
		if _, serr := h.advance(c); serr != nil {
			return errors.Join(err, serr)
		}
	}
	return err
}

func (h *Home) advance(c chain) (chain, error) {
	u, err := envelope.Parse(c.Pending)
	if err != nil {
		return c, fmt.Errorf("profile: %s: %w", h.chainPath(), err)
	}
	c = chain{Last: audit.Link{Seq: c.Last.Seq + 1, Hash: envelope.Sum(u.InsecurePayload())}, Later: c.Later}
	if len(c.Later) > 0 {
		c.Pending, c.Later = c.Later[0], c.Later[1:]
	}
	return c, h.storeChain(c)
}

// maxLater bounds the proofs that wait for a log which is out of reach.
const maxLater = 64

// ProveLater signs the next proof of this device while the audit log is out of reach.
// The next Prove delivers it, and those before it, to the log.
func (h *Home) ProveLater(sign func(audit.Link) ([]byte, error)) ([]byte, error) {
	unlock, err := lockedfile.MutexAt(filepath.Join(h.Dir, "chain.lock")).Lock()
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer unlock()
	var c chain
	if err := readJSON(h.chainPath(), &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(c.Later) >= maxLater {
		return nil, fmt.Errorf("profile: %d proofs of this device wait for the audit log; it must be reached first", len(c.Later)+1)
	}
	at := c.Last
	for _, waiting := range append([][]byte{c.Pending}, c.Later...) {
		if waiting == nil {
			continue
		}
		u, err := envelope.Parse(waiting)
		if err != nil {
			return nil, fmt.Errorf("profile: %s: %w", h.chainPath(), err)
		}
		at = audit.Link{Seq: at.Seq + 1, Hash: envelope.Sum(u.InsecurePayload())}
	}
	proof, err := sign(at)
	if err != nil {
		return nil, err
	}
	if c.Pending == nil {
		c.Pending = proof
	} else {
		c.Later = append(c.Later, proof)
	}
	return proof, h.storeChain(c)
}

func (h *Home) chainPath() string { return filepath.Join(h.Dir, "chain.json") }

func (h *Home) storeChain(c chain) error {
	b, err := jsonBytes(c)
	if err != nil {
		return err
	}
	return keyfile.Replace(h.chainPath(), b)
}
