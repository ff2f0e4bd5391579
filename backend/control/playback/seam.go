package playback

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/recording"
)

// Seam gives the recording as the seam of backends has it. Close closes rec.
func (rec *Recording) Seam() backend.Recording { return seam{rec} }

type seam struct{ rec *Recording }

func (s seam) Close() error { return s.rec.Close() }

func (s seam) Info() backend.RecordingInfo {
	h := s.rec.Header
	return backend.RecordingInfo{
		Title: h.Title, Command: h.Command, Cols: h.Cols, Rows: h.Rows, Began: time.Unix(h.Timestamp, 0), Length: s.rec.Length(),
		Checks: s.rec.Checks(),
	}
}

// Checks says in words what was verified, and what could not be.
func (rec *Recording) Checks() []backend.Check {
	out := []backend.Check{{Holds: true, What: fmt.Sprintf("%d segments signed by %s", rec.Segments(), rec.Agent.Name)}}
	switch {
	case !rec.Complete():
		out = append(out, backend.Check{What: fmt.Sprintf(
			"incomplete: last good t is %s; the session runs, its agent was cut off, or the end was withheld", rec.Length())})
	case rec.LogEntry == nil:
		out = append(out, backend.Check{What: "the audit log does not say yet how this session ended"})
	}
	if rec.LogEntry != nil {
		out = append(out, backend.Check{Holds: true, What: fmt.Sprintf("the audit log agrees (entry %d)", *rec.LogEntry)})
	}
	return out
}

func (s seam) Events(ctx context.Context) iter.Seq2[backend.RecordingEvent, error] {
	return func(yield func(backend.RecordingEvent, error) bool) {
		for e, err := range s.rec.Events(ctx, kept(s.rec.dir), s.rec.with, 1) {
			if err != nil {
				yield(backend.RecordingEvent{}, err)
				return
			}
			out := backend.RecordingEvent{At: e.Time}
			switch e.Code {
			case recording.Output:
				out.Output = e.Data
			case recording.Marker:
				out.Marker = e.Data
			case recording.Resize:
				out.Cols, out.Rows, _ = e.Size()
			case recording.Exit:
				out.Marker = "ended with code " + e.Data
			default:
				continue
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}
