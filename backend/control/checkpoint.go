package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// logFresh is how old the last look at the audit log may be before the next
	// look at the roster takes one.
	logFresh = time.Minute
	// lastLook is how long Close waits for comparisons that have begun.
	lastLook = 2 * time.Second
)

// OnAlarm has f called for each new sign that the audit log tells two stories, beside
// what is kept in the home. It is called before anything else, and f by any goroutine.
func (b *Backend) OnAlarm(f func(error)) { b.onAlarm = f }

// Forks gives the files in which this home keeps evidence that the audit log has told
// two stories.
func (b *Backend) Forks() []string {
	files, err := b.seen.Forks()
	if err != nil {
		b.logger.Error("what is kept of the audit log can't be read", "error", err)
	}
	return files
}

// checkpoint gives the newest checkpoint of the audit log that this home has seen, to be
// shown beside a roster; nil if there is none, or none since the restart of the log that
// the roster knows.
func (b *Backend) checkpoint(r *roster.Roster) []byte {
	note, run, err := b.seen.Newest()
	if err != nil {
		b.logger.Error("the newest checkpoint of the audit log can't be read", "error", err)
	}
	if run != len(r.Restarts()) {
		return nil
	}
	return note
}

// lookAtLog asks apid for the log's checkpoint, unless it has just been asked, and holds
// it against the newest that this home has seen: the log may only grow.
func (b *Backend) lookAtLog() {
	b.mu.Lock()
	due := !b.closed && b.now().Sub(b.logAt) >= logFresh
	if due {
		b.logAt = b.now()
	}
	b.mu.Unlock()
	if !due {
		return
	}
	b.compareLater(func(ctx context.Context) error {
		note, err := b.api.Checkpoint(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", checkpointfile.ErrAway, err)
		}
		r := b.home.Roster()
		return errors.Join(b.seen.Reopen(ctx, b.log(r)), b.seen.Meet(ctx, b.log(r), checkpointfile.Seen{Note: note, Run: len(r.Restarts()), From: "apid"}))
	})
}

// meet holds what an agent has seen of the log against what this home has.
func (b *Backend) meet(who string, said session.Evidence) {
	if len(said.Checkpoint) == 0 {
		return
	}
	b.compareLater(func(ctx context.Context) error {
		head := roster.Head{Seq: said.RosterSeq, Hash: said.RosterHash}
		r := b.home.Roster()
		if !r.Knows(head) {
			var err error
			if r, err = b.syncNow(ctx); err != nil || !r.Knows(head) {
				return errors.Join(fmt.Errorf("%w: %s has a newer roster", checkpointfile.ErrAway, who), err)
			}
		}
		return b.seen.Meet(ctx, b.log(r), checkpointfile.Seen{Note: said.Checkpoint, Run: r.Run(said.RosterSeq), From: who})
	})
}

// log is what a roster says of the audit log, and that apid is asked about it.
func (b *Backend) log(r *roster.Roster) checkpointfile.Log {
	return checkpointfile.Log{
		TeamFP: r.TeamFP(), Keys: r.LogKeys(), Restarts: audit.Restarts(r),
		Prove: func(ctx context.Context, older, newer int64) (tlog.TreeProof, error) {
			proof, err := b.api.Consistency(ctx, older, newer)
			if err != nil && !wire.Refused(err) {
				err = fmt.Errorf("%w: %w", checkpointfile.ErrAway, err)
			}
			return proof, err
		},
	}
}

// compareLater compares beside what is asked for, which does not wait for it; Close does,
// for a moment. What apid could not be asked in time stays open.
func (b *Backend) compareLater(compare func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.comparing.Go(func() {
		ctx, cancel := context.WithTimeout(b.comparisons, answerIn)
		defer cancel()
		err := compare(ctx)
		var fork *checkpointfile.ForkError
		switch {
		case err == nil:
		case !errors.As(err, &fork):
			b.logger.Warn("a checkpoint of the audit log is not compared", "error", err)
		case fork.New && b.onAlarm != nil:
			b.onAlarm(fork)
		}
	})
}

// finishComparing waits for comparisons that have begun, for a moment.
func (b *Backend) finishComparing() {
	stop := time.AfterFunc(lastLook, b.stopComparing)
	b.comparing.Wait()
	stop.Stop()
	b.stopComparing()
}
