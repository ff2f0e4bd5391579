package backend

import (
	"context"
	"iter"
	"time"
)

// An Auditor reads the team's audit log and plays recordings. Find it with As. What a
// member may not read is an error that wraps ErrDenied and says who may.
type Auditor interface {
	// Log gives at most n entries from index from on, in order. An index at or after
	// the log's end gives none, and the size.
	Log(ctx context.Context, from uint64, n int) (LogPage, error)
	// Prove checks what there is to check about one entry, and says each in words.
	// An error means that it could not be asked.
	Prove(ctx context.Context, index uint64) ([]Check, error)
	// Recording fetches the recording of a session and checks it as a whole. It may
	// take as long as the recording is large.
	Recording(ctx context.Context, session string) (Recording, error)
}

// A LogPage is a piece of the audit log.
type LogPage struct {
	Size    uint64 // of the whole log, in entries
	Entries []LogEntry
}

// A LogEntry is one thing that happened. Its text is as it came: who draws it cleans it.
type LogEntry struct {
	Index   uint64
	Problem string // why it does not verify; then nothing else of it is to be believed

	Time   time.Time // by the signer's clock
	Type   string    // such as "session-end"
	Actor  string    // who did it, by the name of then
	Signer string    // whose key has signed it, by the name that the roster knows
	Action string    // such as "shell", "exec" or "approve"
	Team   string
	Target string

	Session string // empty where it is about none
	Effect  string // of the verdict: deny, hold, confirm, allow or empty
	Rule    string
	Tier    string
	Argv    []string // where this device may open it
	Runbook string   // the step of a runbook that Argv is, in words; empty: none
	Sealed  bool     // there is a command

	Exit     int
	Signal   string
	Reason   string
	Recorded bool // the end of a session that has a recording

	BreakGlass bool         // the start of a session without apid's grant, on the word of a quorum
	Copied     []CopiedFile // the first files of a copy, where this device may open them
}

// A CopiedFile is a file that was copied whole. Its name is empty where what was copied is
// this one file, which the entry of the copy's start names.
type CopiedFile struct {
	Name   string
	Size   uint64
	SHA256 string // in hexadecimal digits
}

// A Check is one thing that was looked at. The zero value has not held.
type Check struct {
	Holds bool
	What  string // what was checked, or what is wrong
}

// A Recording is what a terminal showed, checked as a whole. It is for one goroutine.
type Recording interface {
	Info() RecordingInfo
	// Events yields what happened, in order of time, or one error, which is then the
	// last pair. The data may hold any escape sequence: only an emulator may see it.
	Events(ctx context.Context) iter.Seq2[RecordingEvent, error]
	// Close removes what was fetched. It is idempotent.
	Close() error
}

// A RecordingInfo describes a recording.
type RecordingInfo struct {
	Title      string
	Command    string // empty: a login shell
	Cols, Rows int    // at the beginning
	Began      time.Time
	Length     time.Duration
	Checks     []Check
}

// A RecordingEvent is one thing that happened: exactly one of Output, Marker and a size.
type RecordingEvent struct {
	At         time.Duration // since the beginning
	Output     string
	Marker     string // such as a verdict on a program start
	Cols, Rows int
}
