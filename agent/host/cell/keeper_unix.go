//go:build unix

package cell

import (
	"context"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/session"
)

// Kid implements session.Signer.
func (h *inmate) Kid() key.Kid { return h.setup.Agent.Kid() }

// Public implements session.Signer.
func (h *inmate) Public() key.Public { return h.setup.Agent }

// Sign implements session.Signer.
func (h *inmate) Sign(as string, parts ...[]byte) (sig key.Signature) {
	var a signAnswer
	if err := h.ask(context.Background(), opSign, signCall{as, parts}, &a); err != nil || copy(sig[:], a.Signature) != len(sig) {
		h.logger.Warn("no signature for the handshake", "session", h.setup.Session, "error", err)
		return key.Signature{}
	}
	return sig
}

// yes gives nil for a keeper's yes.
func yes(a channel.Answer) error {
	if a.Allowed() {
		return nil
	}
	return &live.Refusal{Answer: a}
}

// Start implements live.Witness.
func (h *inmate) Start(ctx context.Context, said session.Evidence) error {
	var v verdict
	if err := h.ask(ctx, opStart, evidenceOf(said), &v); err != nil {
		return err
	}
	return yes(v.Answer)
}

// Decide implements live.Rules.
func (h *inmate) Decide(ctx context.Context, m channel.OpenMessage) (live.Task, error) {
	var t taskMessage
	if err := h.ask(ctx, opDecide, m, &t); err != nil {
		return live.Task{}, err
	}
	return t.task(), yes(t.Answer)
}

// Commit implements live.Rules.
func (h *inmate) Commit(ctx context.Context, t live.Task) error {
	var v verdict
	if err := h.ask(ctx, opCommit, taskCall{t.ID}, &v); err != nil {
		return err
	}
	return yes(v.Answer)
}

// Refuse implements live.Rules.
func (h *inmate) Refuse(t live.Task, code, reason string) {
	_ = h.insist(opRefuse, refuseCall{t.ID, code, bounded(reason)}, nil)
}

// Outcome implements live.Witness.
func (h *inmate) Outcome(t live.Task, x process.Exit, reason string, report []byte) error {
	return h.insist(opOutcome, outcomeCall{t.ID, append([]byte{}, t.Facts...), int64(x.Code), x.Signal, bounded(reason), append([]byte{}, report...)}, nil)
}

// End implements live.Witness.
func (h *inmate) End(last process.Exit, reason string, recording envelope.Hash) {
	if err := h.insist(opEnd, endCall{int64(last.Code), last.Signal, bounded(reason), recording}, nil); err != nil {
		h.logger.Warn("the session's end could not be said", "session", h.setup.Session, "error", err)
	}
}

// Attach implements live.Doorkeeper.
func (h *inmate) Attach(ctx context.Context, bundle envelope.Hash, said session.Evidence, m channel.OpenMessage) (channel.Answer, error) {
	var v verdict
	if err := h.ask(ctx, opAttach, attachCall{bundle, evidenceOf(said), m}, &v); err != nil {
		return channel.Answer{}, err
	}
	return v.Answer, yes(v.Answer)
}

// Away implements live.Doorkeeper.
func (h *inmate) Away(ctx context.Context, away bool) error {
	return h.ask(ctx, opAway, awayCall{away}, nil)
}

func bounded(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	reason = reason[:maxReason]
	for len(reason) > 0 && reason[len(reason)-1]&0xc0 == 0x80 {
		reason = reason[:len(reason)-1]
	}
	return reason[:max(len(reason)-1, 0)]
}

// Create implements recorder.Store.
func (h *inmate) Create() (recorder.Sink, error) {
	if err := h.ask(context.Background(), opCreate, nil, nil); err != nil {
		return nil, err
	}
	return &sink{h: h}, nil
}

// A sink has the keeper keep a recording. It knows how much of the open segment was
// acknowledged, so that nothing is there twice when a keeper died with an answer.
type sink struct {
	h  *inmate
	n  uint64
	at uint64
}

// Append implements recording.Sink.
func (s *sink) Append(n uint64, b []byte) error {
	if n != s.n {
		s.n, s.at = n, 0
	}
	if err := s.h.insist(opAppend, appendCall{n, s.at, b}, nil); err != nil {
		return err
	}
	s.at += uint64(len(b))
	return nil
}

// Sign implements recording.Sink.
func (s *sink) Sign(m recording.Manifest) (envelope.Hash, error) {
	var a segmentAnswer
	err := s.h.insist(opSegment, segmentCall{m}, &a)
	return a.Hash, err
}

// Close implements recorder.Sink.
func (s *sink) Close() error { return s.h.insist(opClosed, nil, nil) }
