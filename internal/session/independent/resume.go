package independent

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/binary"
)

// Before is what a resume begins with (SPEC.md, section 9): the exporter of the
// handshake before and its generation. For the initiator Attempt is the number
// of the RS1 it makes; for the responder that of the newest one it has answered.
type Before struct {
	Exporter            [32]byte
	Generation, Attempt uint32
}

// place is what stands before the nonce of RS1; nothing in HS1.
func (b *Before) place() []byte {
	if b == nil {
		return nil
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, b.Generation), b.Attempt)
}

// binderSize and placeSize are what RS1 has and HS1 has not.
const (
	placeSize  = 8
	binderSize = 32
)

// form is what differs between a first handshake and a resume.
type form struct {
	first, second, third byte // types
	least                int  // size of the first message up to its suites
	name                 string
	agent, operator      string // contexts
}

func (p *Party) form() form {
	if p.Before == nil {
		return form{1, 2, 3, 53, "TDH1", "hs-agent", "hs-operator"}
	}
	return form{4, 5, 6, 61 + binderSize, "TDH1-resume", "rs-agent", "rs-operator"}
}

// prologue is that of SPEC.md, sections 3 and 9.3.
func (p *Party) prologue(operator, agent ed25519.PublicKey) []byte {
	return bytes.Join([][]byte{[]byte("tucdesk-session-v1\x00" + p.form().name + "\x00"), p.BundleHash[:], kid(operator), kid(agent), p.TeamFP[:]}, nil)
}

// plain gives a first message without what only RS1 has.
func (p *Party) plain(m []byte) []byte {
	if p.Before == nil {
		return m
	}
	return append(append([]byte{}, m[:header]...), m[header+placeSize:len(m)-binderSize]...)
}

// binder is that of SPEC.md, section 9.3, over an RS1 whose binder is not looked at.
func (p *Party) binder(operator, agent ed25519.PublicKey, rs1 []byte) []byte {
	k := expand(p.Before.Exporter[:], []byte("resume binder"), 32)
	return mac(k, hash(p.prologue(operator, agent), rs1[:len(rs1)-binderSize]))
}

// bound makes a first message: as it is, or with its binder at the end.
func (p *Party) bound(operator, agent ed25519.PublicKey, with func(binder []byte) []byte) []byte {
	if p.Before == nil {
		return with(nil)
	}
	return with(p.binder(operator, agent, with(make([]byte, binderSize))))
}

// checkBinder is what the responder MUST check of RS1 (SPEC.md, section 9.1).
func (p *Party) checkBinder(rs1 []byte, operator, agent ed25519.PublicKey) error {
	if p.Before == nil {
		return nil
	}
	if binary.BigEndian.Uint32(rs1[header+4:]) <= p.Before.Attempt {
		return badAttempt
	}
	if binary.BigEndian.Uint32(rs1[header:]) != p.Before.Generation || !hmac.Equal(rs1[len(rs1)-binderSize:], p.binder(operator, agent, rs1)) {
		return badBinder
	}
	return nil
}
