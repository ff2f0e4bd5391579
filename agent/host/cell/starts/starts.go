// Package starts has the bytes in which a session half and its keeper speak of program
// starts: cell's SPEC.md says them. What a program is started with is bytes, not text, and
// comes out as it went in.
//
// It decides nothing. It must not import agent/host, agent/ledger or internal/policy.
package starts

import (
	"time"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Start is a [live.Start].
type Start struct {
	Requested []byte        `cbor:"requested"`
	Argv      [][]byte      `cbor:"argv"`
	Loads     [][]byte      `cbor:"loads"`
	Cwd       []byte        `cbor:"cwd"`
	Env       [][2][]byte   `cbor:"env"`
	Files     []File        `cbor:"files"`
	Bound     []token.Bound `cbor:"bound,omitempty"`
}

// File is a [live.StartFile].
type File struct {
	Path     []byte   `cbor:"path"`
	Names    [][]byte `cbor:"names"`
	Owner    uint64   `cbor:"owner"`
	Links    uint64   `cbor:"links"`
	Writable bool     `cbor:"writable"`
	New      bool     `cbor:"new"`
}

// Ruling is a [live.Ruling].
type Ruling struct {
	Effect string   `cbor:"effect"`
	Tier   string   `cbor:"tier"`
	Rule   string   `cbor:"rule"`
	Line   int64    `cbor:"line"`
	Reason []byte   `cbor:"reason"`
	Argv   [][]byte `cbor:"argv"`
	Wait   int64    `cbor:"wait"` // ms
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

// StartOf gives a start as it travels.
func StartOf(s live.Start) Start {
	m := Start{
		Requested: []byte(s.Requested), Argv: blobs(s.Argv), Loads: blobs(s.Loads), Cwd: []byte(s.Cwd), Env: [][2][]byte{}, Files: []File{}, Bound: s.Bound,
	}
	for _, kv := range s.Env {
		m.Env = append(m.Env, [2][]byte{[]byte(kv[0]), []byte(kv[1])})
	}
	for _, f := range s.Files {
		m.Files = append(m.Files, File{[]byte(f.Path), blobs(f.Names), uint64(f.Owner), f.Links, f.Writable, f.New})
	}
	return m
}

// Live gives the start that has travelled. Its error wraps link.ErrProtocol.
func (m Start) Live() (s live.Start, err error) {
	if len(m.Files) > 1 && len(m.Loads) == 0 {
		return s, link.ErrProtocol
	}
	s = live.Start{Requested: string(m.Requested), Argv: texts(m.Argv), Loads: texts(m.Loads), Cwd: string(m.Cwd), Bound: m.Bound}
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

// Size is about what a start takes in a frame, in bytes.
func (m Start) Size() (n int) {
	n = len(m.Requested) + len(m.Cwd)
	for _, b := range append(append([][]byte{}, m.Argv...), m.Loads...) {
		n += len(b) + 5
	}
	for _, kv := range m.Env {
		n += len(kv[0]) + len(kv[1]) + 11
	}
	for _, b := range m.Bound {
		n += len(b.Path) + 60
	}
	for _, f := range m.Files {
		n += len(f.Path) + 80
		for _, b := range f.Names {
			n += len(b) + 5
		}
	}
	return n
}

// RulingOf gives a ruling as it travels.
func RulingOf(r live.Ruling) Ruling {
	return Ruling{r.Effect, r.Tier, r.Rule, int64(r.Line), []byte(r.Reason), blobs(r.Argv), r.Wait.Milliseconds()}
}

// Live gives the ruling that has travelled.
func (m Ruling) Live() live.Ruling {
	return live.Ruling{
		Effect: m.Effect, Tier: m.Tier, Rule: m.Rule, Line: int(m.Line), Reason: string(m.Reason), Argv: texts(m.Argv),
		Wait: time.Duration(m.Wait) * time.Millisecond,
	}
}
