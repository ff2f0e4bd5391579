package player

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/vt"
)

const (
	// maxFound bounds what a search gives.
	maxFound = 10_000
	// searchBy is how much output is shown between two looks at the screen, in bytes.
	searchBy = 1 << 10
	// searchRows is how many lines that left the screen between two looks are kept:
	// each of those bytes may end one.
	searchRows = searchBy
)

// search plays the recording in memory and gives the times at which a line with the query
// appeared, in either case. Lines that wrapped count as one.
func (f *film) search(ctx context.Context, query string) []time.Duration {
	query = strings.ToLower(query)
	emu := vt.New(max(1, f.info.Cols), max(1, f.info.Rows), vt.Options{Scrollback: searchRows})
	var found []time.Duration
	var before, now []string // the lines that fit
	for i := range f.events {
		e := f.events[i]
		if i%64 == 0 && ctx.Err() != nil {
			return nil
		}
		for out := e.Output; ; {
			e.Output = out[:min(len(out), searchBy)]
			out = out[len(e.Output):]
			scrolled := emu.Scrolled()
			show(emu, &e)
			now = hits(now[:0], emu, min(max(0, emu.Scrolled()-scrolled), emu.ScrollbackLen()), query)
			if slices.ContainsFunc(now, func(s string) bool { return !known(before, s) }) {
				if n := len(found); n == 0 || found[n-1] != e.At {
					found = append(found, e.At)
				}
				if len(found) == maxFound {
					return found
				}
			}
			before, now = now, before
			if out == "" {
				break
			}
		}
	}
	return found
}

// known says whether a line stood there before, or is one that was written on.
func known(before []string, line string) bool {
	return slices.ContainsFunc(before, func(s string) bool { return strings.HasPrefix(line, s) || strings.HasPrefix(s, line) })
}

// hits appends the lines that have the query: of the screen, and of the last rows that
// left it.
func hits(to []string, emu *vt.Terminal, left int, query string) []string {
	_, rows := emu.Size()
	var line []byte
	for y := -left; y < rows; y++ {
		text, wrapped := emu.Text(line, y)
		if line = text; wrapped && y+1 < rows {
			continue
		}
		if s := strings.ToLower(string(line)); strings.Contains(s, query) {
			to = append(to, s)
		}
		line = line[:0]
	}
	return to
}
