//go:build unix

package cell

import (
	"context"
	"errors"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/gating"
)

// startMessage is a live.Start. What a program is started with is bytes, not text.
type startMessage struct {
	Requested []byte        `cbor:"requested"`
	Argv      [][]byte      `cbor:"argv"`
	Loads     [][]byte      `cbor:"loads"`
	Cwd       []byte        `cbor:"cwd"`
	Env       [][2][]byte   `cbor:"env"`
	Files     []fileMessage `cbor:"files"`
}

// fileMessage is a live.StartFile.
type fileMessage struct {
	Path     []byte   `cbor:"path"`
	Names    [][]byte `cbor:"names"`
	Owner    uint64   `cbor:"owner"`
	Links    uint64   `cbor:"links"`
	Writable bool     `cbor:"writable"`
	New      bool     `cbor:"new"`
}

// rulingMessage is a live.Ruling.
type rulingMessage struct {
	Effect string   `cbor:"effect"`
	Tier   string   `cbor:"tier"`
	Rule   string   `cbor:"rule"`
	Line   int64    `cbor:"line"`
	Reason []byte   `cbor:"reason"`
	Argv   [][]byte `cbor:"argv"`
	Wait   int64    `cbor:"wait"` // ms
}

type judgeCall struct {
	Task  uint64       `cbor:"task"`
	Start startMessage `cbor:"start"`
}

type permitCall struct {
	Task   uint64        `cbor:"task"`
	Start  startMessage  `cbor:"start"`
	Ruling rulingMessage `cbor:"ruling"`
	Answer gating.Answer `cbor:"answer"`
}

// permitAnswer has why not; empty: it may start.
type permitAnswer struct {
	Reason string `cbor:"reason"`
}

type reportCall struct {
	Task   uint64        `cbor:"task"`
	Start  startMessage  `cbor:"start"`
	Ruling rulingMessage `cbor:"ruling"`
	State  string        `cbor:"state"`
	Reason string        `cbor:"reason"`
}

func blobs(texts []string) [][]byte {
	out := make([][]byte, len(texts))
	for i, t := range texts {
		out[i] = []byte(t)
	}
	return out
}

func texts(blobs [][]byte) []string {
	if len(blobs) == 0 {
		return nil
	}
	out := make([]string, len(blobs))
	for i, b := range blobs {
		out[i] = string(b)
	}
	return out
}

func startOf(s live.Start) startMessage {
	m := startMessage{
		Requested: []byte(s.Requested), Argv: blobs(s.Argv), Loads: blobs(s.Loads), Cwd: []byte(s.Cwd), Env: [][2][]byte{}, Files: []fileMessage{},
	}
	for _, kv := range s.Env {
		m.Env = append(m.Env, [2][]byte{[]byte(kv[0]), []byte(kv[1])})
	}
	for _, f := range s.Files {
		m.Files = append(m.Files, fileMessage{[]byte(f.Path), blobs(f.Names), uint64(f.Owner), f.Links, f.Writable, f.New})
	}
	return m
}

func (m startMessage) start() (s live.Start, err error) {
	if len(m.Files) > 1 && len(m.Loads) == 0 {
		return s, link.ErrProtocol
	}
	s = live.Start{Requested: string(m.Requested), Argv: texts(m.Argv), Loads: texts(m.Loads), Cwd: string(m.Cwd)}
	for _, kv := range m.Env {
		s.Env = append(s.Env, [2]string{string(kv[0]), string(kv[1])})
	}
	for _, f := range m.Files {
		if f.Owner > 1<<32-1 {
			return s, link.ErrProtocol
		}
		s.Files = append(s.Files, live.StartFile{
			Path: string(f.Path), Names: texts(f.Names), Owner: uint32(f.Owner), Links: f.Links, Writable: f.Writable, New: f.New,
		})
	}
	return s, nil
}

// size is about what a start takes in a frame, in bytes.
func (m startMessage) size() (n int) {
	n = len(m.Requested) + len(m.Cwd)
	for _, b := range append(append([][]byte{}, m.Argv...), m.Loads...) {
		n += len(b) + 5
	}
	for _, kv := range m.Env {
		n += len(kv[0]) + len(kv[1]) + 11
	}
	for _, f := range m.Files {
		n += len(f.Path) + 80
		for _, b := range f.Names {
			n += len(b) + 5
		}
	}
	return n
}

func rulingOf(r live.Ruling) rulingMessage {
	return rulingMessage{r.Effect, r.Tier, r.Rule, int64(r.Line), []byte(r.Reason), blobs(r.Argv), r.Wait.Milliseconds()}
}

func (m rulingMessage) ruling() live.Ruling {
	return live.Ruling{
		Effect: m.Effect, Tier: m.Tier, Rule: m.Rule, Line: int(m.Line), Reason: string(m.Reason), Argv: texts(m.Argv),
		Wait: time.Duration(m.Wait) * time.Millisecond,
	}
}

var _ live.Gatekeeper = (*inmate)(nil)

var errLong = errors.New("its words are too long to be judged")

// judged bounds what is asked about program starts at a time. A start is what waits.
func (h *inmate) judged(ctx context.Context, op link.Op, s startMessage, in, out any) error {
	if s.size() > maxStart {
		return errLong
	}
	select {
	case h.judging <- struct{}{}:
		defer func() { <-h.judging }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return h.ask(ctx, op, in, out)
}

// Judge implements live.Gatekeeper: without a keeper nothing starts.
func (h *inmate) Judge(ctx context.Context, t live.Task, s live.Start) live.Ruling {
	var m rulingMessage
	start := startOf(s)
	if err := h.judged(ctx, opJudge, start, judgeCall{t.ID, start}, &m); err != nil {
		return live.Ruling{Reason: err.Error()}
	}
	return m.ruling()
}

// Permit implements live.Gatekeeper.
func (h *inmate) Permit(ctx context.Context, t live.Task, s live.Start, r live.Ruling, a gating.Answer) error {
	var got permitAnswer
	start := startOf(s)
	if err := h.judged(ctx, opPermit, start, permitCall{t.ID, start, rulingOf(r), a}, &got); err != nil {
		return err
	}
	if got.Reason != "" {
		return errors.New(got.Reason)
	}
	return nil
}

// Report implements live.Gatekeeper.
func (h *inmate) Report(t live.Task, s live.Start, r live.Ruling, o gating.State, reason string) {
	start := startOf(s)
	if start.size() > maxStart {
		// The words are too many for an entry anyway.
		start.Argv, start.Loads, start.Env, start.Files = start.Argv[:min(1, len(start.Argv))], [][]byte{}, [][2][]byte{}, []fileMessage{}
		if start.size() > maxStart {
			start = startOf(live.Start{Cwd: s.Cwd})
		}
	}
	_ = h.insist(opReport, reportCall{t.ID, start, rulingOf(r), string(o), bounded(reason)}, nil)
}

// gated answers what a half asks about program starts.
func (h *Half) gated(ctx context.Context, r link.Request) (link.Reply, error) {
	k, ok := h.keeper.(live.Gatekeeper)
	if !ok {
		return link.Reply{}, link.ErrProtocol
	}
	switch r.Op {
	case opJudge:
		return link.With(r, func(m judgeCall) (any, error) {
			s, err := m.Start.start()
			if err != nil {
				return nil, err
			}
			return rulingOf(k.Judge(ctx, live.Task{ID: m.Task}, s)), nil
		})
	case opPermit:
		return link.With(r, func(m permitCall) (any, error) {
			s, err := m.Start.start()
			if err != nil {
				return nil, err
			}
			var a permitAnswer
			if err := k.Permit(ctx, live.Task{ID: m.Task}, s, m.Ruling.ruling(), m.Answer); err != nil {
				if a.Reason = bounded(err.Error()); a.Reason == "" {
					a.Reason = "it is not permitted"
				}
			}
			return a, nil
		})
	case opReport:
		return link.With(r, func(m reportCall) (any, error) {
			s, err := m.Start.start()
			if err == nil {
				k.Report(live.Task{ID: m.Task}, s, m.Ruling.ruling(), gating.State(m.State), bounded(m.Reason))
			}
			return nil, err
		})
	}
	return link.Reply{}, link.ErrProtocol
}
