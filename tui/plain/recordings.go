package plain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

const (
	// Recordings are looked for in the newest entries of the audit log, which are asked
	// for by pages.
	maxEntries  = 2000
	entriesPage = 200
	// A recording is heard up to this many bytes of output, and its last lines.
	maxHeard = 8 << 20
	maxLines = 2000
)

// recordings lists the newest recordings, and has one heard.
func (t *talk) recordings(ctx context.Context) error {
	log, ok := backend.As[backend.Auditor](t.b)
	if !ok {
		t.say("This backend keeps no recordings.")
		return nil
	}
	list, err := recorded(ctx, log)
	if err != nil {
		t.failed("The list of recordings did not come", err)
		return nil
	}
	if len(list) == 0 {
		t.say("No shell or command of late was recorded.")
		return nil
	}
	t.blank()
	choices := make([]string, len(list))
	for i, e := range list {
		what := phrase.BriefRequest(e.Action, e.Argv)
		choices[i] = fmt.Sprintf("%s: %s by %s, ended %s.", phrase.Brief(e.Target), what, phrase.Brief(e.Actor), e.Time.Local().Format(time.DateTime))
	}
	n, err := t.choose(ctx, "Which recording?", choices...)
	if err != nil || n == 0 {
		return err
	}
	if err := t.hear(ctx, log, list[n-1].Session); err != nil {
		t.failed("The recording can't be heard", err)
	}
	return nil
}

// recorded gives the ends of sessions that have a recording, the newest first, with who
// began them as Actor.
func recorded(ctx context.Context, log backend.Auditor) ([]backend.LogEntry, error) {
	ctx, cancel := call(ctx)
	defer cancel()
	page, err := log.Log(ctx, 0, 1)
	if err != nil {
		return nil, err
	}
	var ends []backend.LogEntry
	from := page.Size - min(page.Size, maxEntries)
	by := make(map[string]backend.LogEntry) // of sessions, their beginning
	for from < page.Size {
		next, err := log.Log(ctx, from, entriesPage)
		if err != nil {
			return nil, err
		}
		if len(next.Entries) == 0 {
			break
		}
		from += uint64(len(next.Entries))
		for _, e := range next.Entries {
			switch {
			case e.Session == "" || e.Problem != "":
			case e.Recorded:
				if began, ok := by[e.Session]; ok {
					e.Actor, e.Argv = began.Actor, began.Argv
				}
				ends = append(ends, e)
			case e.Type == "session-start":
				by[e.Session] = e
			}
		}
	}
	if len(ends) > pageSize {
		ends = ends[len(ends)-pageSize:]
	}
	for i, j := 0, len(ends)-1; i < j; i, j = i+1, j-1 {
		ends[i], ends[j] = ends[j], ends[i]
	}
	return ends, nil
}

// hear says what is proved of a recording, what was marked in it, and what its terminal
// had shown, line by line: an emulator has seen it first, so that what moved over the
// screen is heard as it was left.
func (t *talk) hear(ctx context.Context, log backend.Auditor, session string) (err error) {
	rec, err := log.Recording(ctx, session)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.Close()) }()
	info := rec.Info()
	t.blank()
	t.say("%s, %s long.", phrase.Clean(info.Title), phrase.Duration(info.Length))
	for _, c := range info.Checks {
		proved := "NOT PROVED"
		if c.Holds {
			proved = "Checked"
		}
		t.say("  %s: %s", proved, phrase.Clean(c.What))
	}
	screen := vt.New(size(info.Cols, 80), size(info.Rows, 24), vt.Options{Scrollback: maxLines})
	heard, cut := 0, false
	for e, err := range rec.Events(ctx) {
		if err != nil {
			return err
		}
		if heard += len(e.Output); heard > maxHeard {
			cut = true
			break
		}
		switch {
		case e.Marker != "":
			t.say("  At %s: %s", phrase.Duration(e.At), phrase.Clean(e.Marker))
		case e.Cols > 0 && e.Rows > 0:
			screen.Resize(size(e.Cols, 80), size(e.Rows, 24))
		default:
			_, _ = screen.Write([]byte(e.Output))
			_, _, _ = screen.Replies(), screen.Bells(), screen.Notes()
		}
	}
	t.say("What it showed, from top to bottom:")
	t.lines(screen)
	if cut {
		t.say("There is more of it than is kept here. tucdesk recordings play shows all.")
	}
	t.say("The recording ends.")
	return nil
}

// size is a size of a screen, or what it is where nobody has said.
func size(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return min(n, vt.MaxSize)
}

// lines says all lines of a screen that hold something. One that was cut to the screen's
// width is whole again.
func (t *talk) lines(screen *vt.Terminal) {
	_, rows := screen.Size()
	var line []byte
	for y := -screen.ScrollbackLen(); y < rows; y++ {
		var wrapped bool
		if line, wrapped = screen.Text(line, y); wrapped && y < rows-1 && len(line) < maxLine {
			continue
		}
		if text := sanitize.Clean(string(line)); !text.IsZero() && len(line) > 0 {
			t.say("  %s", text)
		}
		line = line[:0]
	}
}
