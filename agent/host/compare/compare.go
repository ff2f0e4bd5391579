// Package compare is the agent's side of what two honest ends tell each other in a
// handshake, so that servers can't show them two worlds (trust.md 2.2 and 4.4): the roster,
// and the newest checkpoint of the audit log that each has seen. The agent shows the next
// operator what the last one has brought.
//
// Two rosters under one number end the session. A log that was shown to have told two stories is an alarm: both notes are kept, it is
// logged, and it is an entry of the log. No session ends by it, since no server's bad word
// may end one.
//
// It must not import agent/host, and reaches no network by itself.
package compare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// within bounds one comparison.
const within = 30 * time.Second

// A Comparer is made of what it asks. All fields are required. It is safe for concurrent
// use.
type Comparer struct {
	Self   key.Kid
	Seen   *checkpointfile.File
	Now    func() time.Time
	Logger *slog.Logger
	// Roster gives the newest roster known.
	Roster func() *roster.Roster
	// Refresh brings the newest roster, Consistency apid's proof that the log of
	// newer entries extends that of older.
	Refresh     func(context.Context) error
	Consistency func(ctx context.Context, older, newer int64) (tlog.TreeProof, error)
	// Record makes an entry durable. It tells of its own failure.
	Record func(audit.Entry)
}

// Newest gives the newest checkpoint of the log that this agent has seen, to be shown beside
// a roster; nil if there is none, or none since the restart of the log that it knows.
func (c *Comparer) Newest(r *roster.Roster) []byte {
	note, run, err := c.Seen.Newest()
	if err != nil {
		c.Logger.Error("the newest checkpoint of the audit log can't be read", "error", err)
	}
	if run != len(r.Restarts()) {
		return nil
	}
	return note
}

// Rosters compares what an operator says about the roster with what we know. A newer one
// is no error: Meet fetches it, and it will judge the next channel.
func (c *Comparer) Rosters(said session.Evidence) error {
	h, r := roster.Head{Seq: said.RosterSeq, Hash: said.RosterHash}, c.Roster()
	if r.Knows(h) || h.Seq > r.Head().Seq {
		return nil
	}
	c.Logger.Error("the operator holds another roster under a number that we know: somebody tells two stories; tell an admin of the team", "seq", h.Seq, "theirs", h.Hash)
	return fmt.Errorf("compare: operator and agent hold different rosters under number %d; tell an admin of your team", h.Seq)
}

// Meet compares what an operator has said in a handshake. who names the operator.
func (c *Comparer) Meet(ctx context.Context, who string, said session.Evidence) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	head := roster.Head{Seq: said.RosterSeq, Hash: said.RosterHash}
	r := c.Roster()
	if !r.Knows(head) {
		if err := c.Refresh(ctx); err != nil {
			c.Logger.Info("an operator's newer roster can't be had yet", "error", err)
		}
		if r = c.Roster(); !r.Knows(head) {
			return
		}
	}
	log := checkpointfile.Log{TeamFP: r.TeamFP(), Keys: r.LogKeys(), Restarts: audit.Restarts(r), Prove: c.prove}
	c.tell(ctx, r, c.Seen.Reopen(ctx, log))
	c.tell(ctx, r, c.Seen.Meet(ctx, log, checkpointfile.Seen{Note: said.Checkpoint, Run: r.Run(said.RosterSeq), From: who}))
}

// prove says of a missing proof whether apid has refused it.
func (c *Comparer) prove(ctx context.Context, older, newer int64) (tlog.TreeProof, error) {
	proof, err := c.Consistency(ctx, older, newer)
	if err != nil && !wire.Refused(err) {
		err = fmt.Errorf("%w: %w", checkpointfile.ErrAway, err)
	}
	return proof, err
}

// tell tells of what came of a comparison.
func (c *Comparer) tell(ctx context.Context, r *roster.Roster, err error) {
	var fork *checkpointfile.ForkError
	switch {
	case err == nil || errors.Is(ctx.Err(), context.Canceled):
	case errors.As(err, &fork):
		c.Logger.Error("the audit log tells two stories: evidence is kept; tell the admins and auditors of the team", "error", err)
		if fork.New {
			c.Record(c.entry(r, fork))
		}
	default:
		c.Logger.Warn("an operator's checkpoint of the audit log is not compared", "error", err)
	}
}

// maxReason is what an entry takes, in bytes.
const maxReason = 1024

// entry says that this agent has seen two logs.
func (c *Comparer) entry(r *roster.Roster, fork *checkpointfile.ForkError) audit.Entry {
	self := audit.Party{Kid: c.Self}
	if agent, ok := r.EverAgent(c.Self); ok {
		self.Name = agent.Name
	}
	reason := fmt.Sprintf("%d entries with root %s, seen before; %d entries with root %s, from %s: %s",
		fork.Ours.Size, fork.Ours.Root, fork.Theirs.Size, fork.Theirs.Root, fork.From, fork.Why)
	return audit.Entry{
		TeamFP: r.TeamFP(), TeamID: r.TeamID(), Type: audit.Alarm, Timestamp: c.Now().Unix(),
		Actor: self, Action: "log-fork", Target: self, RosterHead: r.Head(),
		Outcome: audit.Outcome{Reason: strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")},
	}
}
