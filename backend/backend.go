package backend

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Implementations wrap these with %w, and callers test for them with
// errors.Is. ErrUnavailable is the only one that a caller may retry.
var (
	// ErrNotFound means that no such target or approval exists, or that the
	// member may not know of it.
	ErrNotFound = errors.New("backend: not found")
	// ErrDenied means that policy, or an approver, said no. See DeniedError.
	ErrDenied = errors.New("backend: denied")
	// ErrHeld means that an approval is needed first. See HeldError and Asker.
	ErrHeld = errors.New("backend: held for approval")
	// ErrConfirm means that the same request opens once the member confirmed
	// it. See ConfirmError and OpenRequest.Confirmed.
	ErrConfirm = errors.New("backend: confirmation needed")
	// ErrDecided means that an approval was decided or ran out before this
	// decision came.
	ErrDecided = errors.New("backend: already decided")
	// ErrExpired means that nobody decided an approval in time.
	ErrExpired = errors.New("backend: approval expired")
	// ErrUnavailable means that the backend can't tell right now.
	ErrUnavailable = errors.New("backend: temporarily unavailable")
	// ErrTaken means that another client of the member has taken the terminal, which
	// goes on there.
	ErrTaken = errors.New("backend: attached by another client")
	// ErrGone means that the backend has ended by itself, and nothing of it opens until it
	// is opened anew. It comes beside ErrUnavailable.
	ErrGone = errors.New("backend: gone")
	// ErrClosed means that Close was called on the backend or the terminal.
	ErrClosed = errors.New("backend: closed")
)

// A Backend lists targets and opens terminals. All methods are safe for
// concurrent use and return within one second of ctx being done.
type Backend interface {
	// Targets yields the targets in the order of their TargetID, bytewise.
	// It may stop early with one error, which is then the last pair.
	Targets(ctx context.Context) iter.Seq2[Target, error]

	// Open starts a terminal. ctx bounds the opening, not the terminal's
	// life. It returns an error that wraps ErrNotFound, ErrDenied, ErrHeld
	// (nothing was started and nobody was asked), ErrConfirm,
	// ErrUnavailable or ErrClosed where one of them fits.
	Open(ctx context.Context, req OpenRequest) (Terminal, error)

	// Close ends every terminal that the backend opened. It is idempotent.
	Close() error
}

// A Terminal is one program on a target: a login shell or a command, with or
// without a PTY. One goroutine may read while another writes; the other
// methods are safe at any time.
//
// Not to read is flow control: the program is made to wait.
type Terminal interface {
	// Read returns output: of the PTY, or stdout where there is none. It
	// returns io.EOF after the program's end, when all output was read.
	// Write sends input. Close ends the program and unblocks Read and Write;
	// it is idempotent.
	io.ReadWriteCloser

	// Resize tells the PTY its size in cells. Zero in either is an error;
	// without a PTY nothing happens.
	Resize(cols, rows uint16) error

	// Wait returns how the program ended, once it did. The error is not nil
	// where that is not known, for example after the link was lost.
	// Read to io.EOF first: a program that waits for a reader does not end.
	Wait() (Exit, error)

	// Assurance says what is known to protect this terminal now. It may
	// change during a terminal's life and must not block.
	Assurance() Assurance
}

// These are the optional capabilities of a Terminal. Find them with
// TerminalAs.
type (
	// A StderrTerminal has stderr apart from stdout. Stderr returns nil
	// where the terminal has a PTY. It must be read beside stdout.
	StderrTerminal interface{ Stderr() io.Reader }
	// A HalfCloser can end the input and go on reading the output.
	HalfCloser interface{ CloseWrite() error }
	// A Signaler sends a signal, named without SIG as in RFC 4254, 6.10:
	// HUP, INT, QUIT, KILL, TERM, USR1, USR2. Another name is an error that
	// wraps errors.ErrUnsupported.
	Signaler interface{ Signal(name string) error }
	// A GatedTerminal judges the programs that start inside it. Starts gives the
	// starts that policy does not simply let run, each again when its state changes;
	// it is for one reader and ends with the terminal. nil: they are not judged.
	// Confirm answers a start that waits for this member, once.
	GatedTerminal interface {
		Starts() <-chan Start
		Confirm(id uint64, yes bool)
	}
	// A LinkTerminal outlives the connection to its target: while that is lost it
	// freezes, and tries to reach the target again by itself. What is typed
	// meanwhile arrives then; Write blocks when no more can be kept.
	LinkTerminal interface {
		// Link says how the connection stands. It must not block.
		Link() Link
	}
	// A Detacher leaves its terminal, which goes on and can be opened again as the
	// session that is given. The end of the Terminal is then ErrClosed.
	Detacher interface{ Detach() (SessionID, error) }
	// A ReturnedTerminal went on before it was opened. Past gives what it had shown,
	// and is nil for one that is new. What Read gives follows it.
	ReturnedTerminal interface{ Past() *Past }
	// A WatchedTerminal can be looked at by others. Watchers gives who does, at the
	// beginning and at each change; it is for one reader and ends with the terminal. nil:
	// nobody can. Dismiss ends one of them.
	WatchedTerminal interface {
		Watchers() <-chan []Onlooker
		Dismiss(n uint64)
	}
	// A Repeater opens the same again within the same session, where policy lets that be:
	// a forward's next connection. What it opens ends with the terminal that it is of.
	Repeater interface {
		Again(ctx context.Context) (Terminal, error)
	}
	// A TerminalUnwrapper is a decorator of a Terminal.
	TerminalUnwrapper interface{ Unwrap() Terminal }
)

// These are the optional capabilities of a Backend. Find them with As, never
// with a bare type assertion: a decorator would hide them.
type (
	// An Evaluator answers "would Open be allowed?" without side effects.
	// An unknown target is an error that wraps ErrNotFound.
	Evaluator interface {
		Evaluate(ctx context.Context, req OpenRequest) (Verdict, error)
	}

	// A BatchEvaluator evaluates many requests at once. The answer has as
	// many verdicts as there are requests, in the same order; the verdict of
	// an unknown target is a Deny with a reason.
	BatchEvaluator interface {
		EvaluateBatch(ctx context.Context, reqs []OpenRequest) ([]Verdict, error)
	}

	// An Approver shows and decides what waits for approval.
	Approver interface {
		// Pending yields the approvals that this member may see, oldest
		// first: those of others that wait and the member's own. It may
		// also yield such as ended a short time ago; State says so.
		Pending(ctx context.Context) iter.Seq2[Approval, error]
		// Decide answers one approval as Pending last yielded it: where what
		// is asked for changed since, it decides nothing. It returns an
		// error that wraps ErrDecided where somebody was faster or the time
		// ran out, ErrDenied where the member may not decide, and
		// ErrNotFound.
		Decide(ctx context.Context, id ApprovalID, d Decision) error
	}

	// An Asker asks for the approval that a held request needs.
	Asker interface {
		// Ask files the request with its Reason and returns at once.
		Ask(ctx context.Context, req OpenRequest) (ApprovalID, error)
		// Await returns nil when the approval was granted. Open with the
		// same request and OpenRequest.Approval set then succeeds, once. It
		// returns an error that wraps ErrDenied, ErrExpired or ErrNotFound,
		// or ctx's error.
		Await(ctx context.Context, id ApprovalID) error
	}

	// A PlanApprover decides requests that were asked for together as one.
	PlanApprover interface {
		// DecideTogether answers all approvals of one plan as Pending last yielded
		// them, or none: where they are not exactly the plan's, or this member may not
		// decide one, it decides nothing. decided counts those that took the decision:
		// fewer than all, beside an error, where one could not be delivered.
		DecideTogether(ctx context.Context, ids []ApprovalID, d Decision) (decided int, err error)
	}

	// A Watcher says at once what a listing would show only when it is next
	// asked for. What changes because time passes, it does not say.
	Watcher interface {
		// Watch calls changed once when it begins to watch, as for a change
		// of everything, and then for each change; several may be told as
		// one, and some in vain. It makes one call at a time, which must
		// return soon. It returns ctx's error, ErrClosed, or an error that
		// says why changes can't be watched: then one asks now and then.
		Watch(ctx context.Context, changed func(Change)) error
	}

	// A Noticer knows of what everybody in front of a screen should know.
	Noticer interface {
		// Notices gives what stands out now, the gravest first. What is known
		// comes with an error that says why it may not be all.
		Notices(ctx context.Context) ([]Notice, error)
	}

	// A Sessioner knows which terminals of the member run, on all of their devices.
	Sessioner interface {
		// Sessions gives them, the newest first.
		Sessions(ctx context.Context) ([]Session, error)
	}

	// An Informer knows more of one target than a listing holds.
	Informer interface {
		// Inform gives what is known about a request's target, and what would change the
		// verdict on the request. What is known comes with an error that says why it may
		// not be all. An unknown target is an error that wraps ErrNotFound.
		Inform(ctx context.Context, req OpenRequest) (Info, error)
	}

	// An Overseer knows which shells of others run that the member may look at.
	Overseer interface {
		// Watchable gives them, the newest first. The target has the last word when one
		// is opened.
		Watchable(ctx context.Context) ([]Session, error)
	}

	// An Unwrapper is a decorator of a Backend.
	Unwrapper interface{ Unwrap() Backend }
)

// A Link is how a terminal's connection to its target stands. The zero value is one
// that works, as far as is known.
type Link struct {
	Lost  bool
	Since time.Time // when the target was heard last
	Until time.Time // until when the target keeps the terminal; zero: it does not
	Why   string    // what the last attempt to reach it has met; empty: none has failed yet
}

// Limits of an Info.
const (
	MaxWays   = 8
	MaxVisits = 10
)

// An Info is what there is to know about a target. Its text is as it came: who draws it
// cleans it.
type Info struct {
	// Ways would change the verdict, each in words with what policy would answer then,
	// the best first; none where it is allow, or nothing smaller than a new policy helps.
	Ways []string
	// Visits are the latest sessions on the target that this member may know of, the
	// newest first.
	Visits []Visit
	// Posture is what the machine says of itself: os, version, gate, up since.
	Posture map[string]string
}

// A Visit is a session on a target, of whoever.
type Visit struct {
	By    string // who: an e-mail address
	Kind  Kind
	As    string // as it was asked for; empty: the target's login user
	State string // in a word: "runs", "ended"
	Began time.Time
}

// A Change says what is worth asking for again. The zero value is nothing.
type Change struct{ Targets, Approvals bool }

// As finds a capability of b: in b itself, else in what it decorates.
func As[T any](b Backend) (T, bool) {
	for b != nil {
		if t, ok := b.(T); ok {
			return t, true
		}
		u, ok := b.(Unwrapper)
		if !ok {
			break
		}
		b = u.Unwrap()
	}
	var none T
	return none, false
}

// TerminalAs finds a capability of t: in t itself, else in what it decorates.
func TerminalAs[T any](t Terminal) (T, bool) {
	for t != nil {
		if c, ok := t.(T); ok {
			return c, true
		}
		u, ok := t.(TerminalUnwrapper)
		if !ok {
			break
		}
		t = u.Unwrap()
	}
	var none T
	return none, false
}

// A Notice is something that stands out until somebody has done something about it.
type Notice struct {
	Grave bool   // somebody must act before going on
	Short string // a few words, for a header
	Text  string // what, and what to do next
}
