// Package testimony signs an agent's audit entries and puts them into the outbox, where
// they are durable and numbered before anybody relies on them.
//
// It must not import agent/host.
package testimony

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// MaxReason bounds the text of an outcome, in bytes.
const MaxReason = 1024

// A Book is what an agent testifies in. All fields are required. It is safe for
// concurrent use.
type Book struct {
	Identity key.Identity
	Outbox   *ledger.Outbox
	Now      func() time.Time
	Logger   *slog.Logger
	Refusals *rate.Limiter // entries of refusals: a flood must not fill the outbox
	Fail     func(error)   // ends the agent: its disk has failed
}

// About begins an entry about what an operator does by a proof. r names the agent and
// the head.
func (b *Book) About(t audit.Type, by roster.Device, p token.Proof, v policy.Verdict, r *roster.Roster) audit.Entry {
	self := audit.Party{Kid: b.Identity.Kid()}
	if agent, ok := r.EverAgent(self.Kid); ok {
		self.Name = agent.Name
	}
	return audit.Entry{
		TeamFP: r.TeamFP(), TeamID: r.TeamID(), Type: t, Timestamp: b.Now().Unix(),
		Actor: audit.Party{Kid: by.Kid, Name: by.Email}, Action: p.Kind, Target: self,
		SessionID: p.SessionID, RosterHead: r.Head(),
		Policy: audit.PolicyResult{
			Hash: r.PolicyHash(), Version: r.PolicyVersion(),
			Effect: v.Effect.String(), Rule: v.Rule,
		},
		Command: audit.CommandContext{Commitment: p.Commitment},
	}
}

// Keep signs and stores. Closing entries may use the outbox's reserve.
func (b *Book) Keep(closing bool, entry audit.Entry) error {
	_, err := b.Outbox.Append(closing, func(seq uint64, prev envelope.Hash) ([]byte, envelope.Hash, error) {
		chain := audit.NewChain(b.Identity, audit.Link{Seq: seq - 1, Hash: prev})
		signed, err := chain.Next(entry)
		return signed, chain.Last().Hash, err
	})
	if err != nil {
		b.Logger.Error("an audit entry could not be kept", "type", entry.Type, "error", err)
		if !errors.Is(err, ledger.ErrFull) && !errors.Is(err, audit.ErrMalformed) {
			b.Fail(err)
		}
		return fmt.Errorf("host: the audit entry could not be kept: %w", err)
	}
	return nil
}

// Reason gives a text as an outcome has it: of whole runes, and not too long.
func Reason(s string) string { return Cut(s, MaxReason) }

// Cut shortens a text to n bytes of whole runes, and says so.
func Cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	const mark = " (cut)"
	s = s[:n-len(mark)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + mark
}
