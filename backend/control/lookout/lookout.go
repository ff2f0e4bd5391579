// Package lookout is how a member's device sees to it that the audit log tells one story:
// each checkpoint that a server or an agent shows is held against the newest one that this
// home has seen, and the log may only grow between them.
//
// Invariants: comparing is beside what a member asks for, which never waits for it; what
// apid could not be asked stays open and is asked again; a fork is kept in the home before
// anybody is told.
//
// It must not import control, a service or a screen.
package lookout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// fresh is how old the last look at the audit log may be before the next look at
	// the roster takes one.
	fresh = time.Minute
	// answerIn bounds one comparison.
	answerIn = 15 * time.Second
	// lastLook is how long Close waits for comparisons that have begun.
	lastLook = 2 * time.Second
)

// API is the part of wire.Client that is needed.
type API interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	Consistency(ctx context.Context, older, newer int64) (tlog.TreeProof, error)
}

// Home is the part of profile.Home that is needed: the roster as this device knows it.
type Home interface {
	Roster() *roster.Roster
}

// A Lookout compares checkpoints. Its fields are set before its first use and not after;
// its methods are safe for concurrent use.
type Lookout struct {
	API    API
	Home   Home
	Seen   *checkpointfile.File                          // of the audit log
	Newest func(context.Context) (*roster.Roster, error) // asks apid
	Alarm  func(error)                                   // nil: nobody is told of a fork beside the home
	Now    func() time.Time
	Logger *slog.Logger

	mu        sync.Mutex
	asked     time.Time // when apid was last asked for the checkpoint
	stop      context.CancelFunc
	ctx       context.Context // of comparisons; nil before the first one
	closed    bool
	comparing sync.WaitGroup
}

// Forks gives the files in which this home keeps evidence that the audit log has told
// two stories.
func (l *Lookout) Forks() []string {
	files, err := l.Seen.Forks()
	if err != nil {
		l.Logger.Error("what is kept of the audit log can't be read", "error", err)
	}
	return files
}

// Checkpoint gives the newest checkpoint of the audit log that this home has seen, to be
// shown beside a roster; nil if there is none, or none since the restart of the log that
// the roster knows.
func (l *Lookout) Checkpoint(r *roster.Roster) []byte {
	note, run, err := l.Seen.Newest()
	if err != nil {
		l.Logger.Error("the newest checkpoint of the audit log can't be read", "error", err)
	}
	if run != len(r.Restarts()) {
		return nil
	}
	return note
}

// Look asks apid for the log's checkpoint, unless it has just been asked, and holds it
// against the newest that this home has seen. It does not wait for the answer.
func (l *Lookout) Look() {
	l.mu.Lock()
	due := l.Now().Sub(l.asked) >= fresh
	if due {
		l.asked = l.Now()
	}
	l.mu.Unlock()
	if !due {
		return
	}
	l.later(func(ctx context.Context) error {
		note, err := l.API.Checkpoint(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", checkpointfile.ErrAway, err)
		}
		r := l.Home.Roster()
		return errors.Join(l.Seen.Reopen(ctx, l.Log(r)), l.Seen.Meet(ctx, l.Log(r), checkpointfile.Seen{Note: note, Run: len(r.Restarts()), From: "apid"}))
	})
}

// Meet holds what an agent has seen of the log against what this home has. It does not
// wait for the outcome.
func (l *Lookout) Meet(who string, said session.Evidence) {
	if len(said.Checkpoint) == 0 {
		return
	}
	l.later(func(ctx context.Context) error {
		head := roster.Head{Seq: said.RosterSeq, Hash: said.RosterHash}
		r := l.Home.Roster()
		if !r.Knows(head) {
			var err error
			if r, err = l.Newest(ctx); err != nil || !r.Knows(head) {
				return errors.Join(fmt.Errorf("%w: %s has a newer roster", checkpointfile.ErrAway, who), err)
			}
		}
		return l.Seen.Meet(ctx, l.Log(r), checkpointfile.Seen{Note: said.Checkpoint, Run: r.Run(said.RosterSeq), From: who})
	})
}

// Log is what a roster says of the audit log, and that apid is asked about it.
func (l *Lookout) Log(r *roster.Roster) checkpointfile.Log {
	return checkpointfile.Log{
		TeamFP: r.TeamFP(), Keys: r.LogKeys(), Restarts: audit.Restarts(r),
		Prove: func(ctx context.Context, older, newer int64) (tlog.TreeProof, error) {
			proof, err := l.API.Consistency(ctx, older, newer)
			if err != nil && !wire.Refused(err) {
				err = fmt.Errorf("%w: %w", checkpointfile.ErrAway, err)
			}
			return proof, err
		},
	}
}

// later compares beside what is asked for. After Close nothing is compared.
func (l *Lookout) later(compare func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if l.ctx == nil {
		l.ctx, l.stop = context.WithCancel(context.Background())
	}
	all := l.ctx
	l.comparing.Go(func() {
		ctx, cancel := context.WithTimeout(all, answerIn)
		defer cancel()
		err := compare(ctx)
		var fork *checkpointfile.ForkError
		switch {
		case err == nil:
		case !errors.As(err, &fork):
			l.Logger.Warn("a checkpoint of the audit log is not compared", "error", err)
		case fork.New && l.Alarm != nil:
			l.Alarm(fork)
		}
	})
}

// Close waits for comparisons that have begun, for a moment, and ends them.
func (l *Lookout) Close() {
	l.mu.Lock()
	l.closed = true
	stop := l.stop
	l.mu.Unlock()
	if stop == nil {
		return
	}
	timer := time.AfterFunc(lastLook, stop)
	l.comparing.Wait()
	timer.Stop()
	stop()
}
