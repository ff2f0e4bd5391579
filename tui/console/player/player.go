// Package player plays a recording in the console: a seek bar, speeds, pauses that are
// skipped, a search in what was shown, and markers such as a gated command.
//
// Invariants: what was recorded reaches the screen as cells of the emulator only, and text
// that its program concealed is shown. Nothing is shown before the backend has checked the
// recording as a whole. What is kept of it is in memory, bounded, and says where it is cut.
package player

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

const (
	// maxBytes bounds what is kept of a recording, in bytes of output.
	maxBytes = 32 << 20
	// maxEvents bounds its events.
	maxEvents = 1 << 20
	// idleLimit is how much of a pause is played where pauses are skipped.
	idleLimit = time.Second
	// frame is the least time between two steps, and slowest the most.
	frame   = 15 * time.Millisecond
	slowest = 250 * time.Millisecond
	// seekBy and seekFar are what keys seek by.
	seekBy  = 5 * time.Second
	seekFar = time.Minute
)

// speeds are those that can be chosen.
var speeds = []float64{0.25, 0.5, 1, 2, 4, 8, 16}

// A Player is a recording on the screen. It implements dialog.Live.
type Player struct {
	ctx     context.Context
	end     context.CancelFunc
	log     backend.Auditor
	session string

	err    error // it can't be played
	loaded bool
	film

	emu     *vt.Terminal
	line    []vt.Cell
	next    int           // of events, the first that was not shown
	at      time.Duration // where it is
	playing bool
	since   time.Time // when at was true, while it plays
	speed   int       // of speeds
	idle    bool      // pauses are skipped

	typing    bool
	query     canvas.LineEdit
	found     []time.Duration // nil: not searched
	searched  string          // for what
	searching bool
	note      string
}

// A film is what was loaded of a recording.
type film struct {
	info    backend.RecordingInfo
	events  []backend.RecordingEvent
	markers []marker
	cut     bool // there is more of it than is kept
}

type marker struct {
	at   time.Duration
	text sanitize.Text
}

type (
	loadedMsg struct {
		p    *Player
		film film
		err  error
	}
	stepMsg struct {
		p  *Player
		of time.Time // since, when it was asked for
	}
	foundMsg struct {
		p     *Player
		query string
		at    []time.Duration
	}
)

// New makes the player of a session's recording. ctx ends what it does.
func New(ctx context.Context, log backend.Auditor, session string) *Player {
	ctx, end := context.WithCancel(ctx)
	return &Player{ctx: ctx, end: end, log: log, session: session, speed: slices.Index(speeds, 1), idle: true}
}

// Begin implements dialog.Live.
func (p *Player) Begin() tea.Cmd {
	return func() tea.Msg {
		f, err := load(p.ctx, p.log, p.session)
		return loadedMsg{p, f, err}
	}
}

// End implements dialog.Live.
func (p *Player) End() { p.end() }

// load fetches a recording and takes it into memory.
func load(ctx context.Context, log backend.Auditor, session string) (f film, err error) {
	rec, err := log.Recording(ctx, session)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, rec.Close()) }()
	f.info = rec.Info()
	size := 0
	for e, err := range rec.Events(ctx) {
		if err != nil {
			return f, err
		}
		if size += len(e.Output) + len(e.Marker); size > maxBytes || len(f.events) == maxEvents {
			f.cut = true
			break
		}
		if n := len(f.events); n > 0 {
			e.At = max(e.At, f.events[n-1].At)
		}
		if e.Marker != "" {
			f.markers = append(f.markers, marker{e.At, sanitize.Clean(e.Marker)})
		}
		f.events = append(f.events, e)
	}
	f.info.Length = max(0, f.info.Length)
	if n := len(f.events); n > 0 && (f.cut || f.events[n-1].At > f.info.Length) {
		f.info.Length = f.events[n-1].At
	}
	return f, ctx.Err()
}

// Receive implements dialog.Live.
func (p *Player) Receive(msg tea.Msg, now time.Time) tea.Cmd {
	switch msg := msg.(type) {
	case loadedMsg:
		if msg.p != p {
			return nil
		}
		if p.err = msg.err; p.err != nil {
			return nil
		}
		p.loaded, p.film = true, msg.film
		p.rewind()
		return p.play(now)
	case stepMsg:
		if msg.p != p || !p.playing || !msg.of.Equal(p.since) || p.ctx.Err() != nil {
			return nil
		}
		return p.step(now)
	case foundMsg:
		if msg.p != p || msg.query != p.searched {
			return nil
		}
		p.searching, p.found = false, msg.at
		if len(p.found) == 0 {
			p.note = "nothing that was shown fits"
			return nil
		}
		p.playing = false
		p.jump(p.found, 1, true)
	}
	return nil
}

// rewind is at the beginning again.
func (p *Player) rewind() { p.emu, p.next, p.at = screenOf(p.info), 0, 0 }

// screenOf is an empty screen of a recording's size.
func screenOf(info backend.RecordingInfo) *vt.Terminal {
	return vt.New(max(1, info.Cols), max(1, info.Rows), vt.Options{})
}

// show gives an event to an emulator. Nobody answers what a program asked then.
func show(emu *vt.Terminal, e *backend.RecordingEvent) {
	if e.Cols > 0 && e.Rows > 0 {
		emu.Resize(e.Cols, e.Rows)
	}
	if e.Output != "" {
		_, _ = emu.Write([]byte(e.Output))
		emu.Replies()
	}
}

// seek goes to a time.
func (p *Player) seek(to time.Duration) {
	to = max(0, min(to, p.info.Length))
	if to < p.at {
		p.rewind()
	}
	for p.next < len(p.events) && p.events[p.next].At <= to {
		show(p.emu, &p.events[p.next])
		p.next++
	}
	p.at = to
}

// play goes on from where it is, or from the beginning where it is at its end.
func (p *Player) play(now time.Time) tea.Cmd {
	if p.at >= p.info.Length {
		p.rewind()
	}
	p.playing, p.since = true, now
	return p.step(now)
}

// step shows what is due, and waits for what comes.
func (p *Player) step(now time.Time) tea.Cmd {
	to := p.at + time.Duration(float64(now.Sub(p.since))*speeds[p.speed])
	if p.idle && p.next < len(p.events) {
		began := time.Duration(0)
		if p.next > 0 {
			began = p.events[p.next-1].At
		}
		if next := p.events[p.next].At; next > to && to-began >= idleLimit {
			to = next
		}
	}
	p.seek(to)
	p.since = now
	if p.at >= p.info.Length {
		p.playing = false
		return nil
	}
	wait := slowest
	if p.next < len(p.events) {
		wait = min(wait, time.Duration(float64(p.events[p.next].At-p.at)/speeds[p.speed]))
	}
	wait = max(wait, frame)
	return tea.Tick(wait, func(time.Time) tea.Msg { return stepMsg{p, now} })
}

// again goes on as it did before something was changed.
func (p *Player) again(now time.Time) dialog.Outcome {
	if !p.playing {
		return dialog.Outcome{}
	}
	return dialog.Outcome{Do: dialog.DoCmd{Cmd: p.play(now)}}
}

// Keys implements dialog.Dialog.
func (p *Player) Keys() *keymap.Map {
	if p.typing {
		return nil
	}
	return &keymap.PlayerKeys
}

// Paste implements dialog.Dialog.
func (p *Player) Paste(text string) {
	if p.typing {
		p.query.Insert(text)
	}
}

// Key implements dialog.Dialog.
func (p *Player) Key(k tea.KeyPressMsg, now time.Time) dialog.Outcome {
	if p.typing {
		return p.typed(k)
	}
	act := keymap.PlayerKeys.Lookup(k.String())
	if act == keymap.ActBack {
		return dialog.Outcome{Close: true}
	}
	if !p.loaded {
		return dialog.Outcome{}
	}
	p.note = ""
	switch act {
	case keymap.ActPause:
		if p.playing {
			p.playing = false
			return dialog.Outcome{}
		}
		return dialog.Outcome{Do: dialog.DoCmd{Cmd: p.play(now)}}
	case keymap.ActLeft:
		p.seek(p.at - seekBy)
	case keymap.ActRight:
		p.seek(p.at + seekBy)
	case keymap.ActPageUp:
		p.seek(p.at - seekFar)
	case keymap.ActPageDown:
		p.seek(p.at + seekFar)
	case keymap.ActTop:
		p.seek(0)
	case keymap.ActBottom:
		p.seek(p.info.Length)
	case keymap.ActFaster:
		p.speed = min(p.speed+1, len(speeds)-1)
	case keymap.ActSlower:
		p.speed = max(p.speed-1, 0)
	case keymap.ActIdle:
		p.idle = !p.idle
	case keymap.ActFilter:
		p.typing = true
	case keymap.ActNextFound, keymap.ActPrevFound:
		p.playing = false
		p.jump(p.found, by(act == keymap.ActNextFound), false)
	case keymap.ActNextMarker, keymap.ActPrevMarker:
		p.playing = false
		at := make([]time.Duration, len(p.markers))
		for i, m := range p.markers {
			at[i] = m.at
		}
		p.jump(at, by(act == keymap.ActNextMarker), false)
	case keymap.ActDetails:
		return dialog.Outcome{Do: dialog.DoDialog{Next: p.checked()}}
	}
	return p.again(now)
}

func by(on bool) int {
	if on {
		return 1
	}
	return -1
}

// jump goes to the next of some times, or the one before. here says that where it is
// counts as next.
func (p *Player) jump(to []time.Duration, by int, here bool) {
	at := -1
	for i, t := range to {
		if by > 0 && at < 0 && (t > p.at || here && t == p.at) || by < 0 && t < p.at {
			at = i
		}
	}
	if at < 0 {
		p.note = "there is no further one"
		return
	}
	p.seek(to[at])
	p.note = fmt.Sprintf("%d of %d", at+1, len(to))
}

// typed takes a key of the line that is searched for.
func (p *Player) typed(k tea.KeyPressMsg) dialog.Outcome {
	switch k.String() {
	case "esc", "ctrl+c":
		p.typing = false
	case "enter":
		p.typing = false
		if p.query.String() == "" {
			return dialog.Outcome{}
		}
		p.searched, p.found, p.searching, p.note = p.query.String(), nil, true, ""
		query, f := p.searched, p.film
		return dialog.Outcome{Do: dialog.DoCmd{Cmd: func() tea.Msg { return foundMsg{p, query, f.search(p.ctx, query)} }}}
	default:
		p.query.Key(k)
	}
	return dialog.Outcome{}
}

// checked is what was checked of the recording, in full.
func (p *Player) checked() dialog.Dialog {
	info, cut := p.info, p.cut
	return &dialog.Notice{Title: sanitize.Literal("This recording"), Body: func(st *canvas.Styles) []canvas.Para {
		paras := []canvas.Para{
			{Label: "Title", Text: sanitize.Clean(info.Title), Style: st.Bold},
			{Label: "Began", Text: sanitize.Clean(info.Began.Local().Format("2006-01-02 15:04:05 -0700")), Style: st.Plain},
			{Label: "Screen", Text: sanitize.Clean(fmt.Sprintf("%d columns, %d rows at the beginning", info.Cols, info.Rows)), Style: st.Plain},
		}
		if info.Command != "" {
			paras = append(paras, canvas.Para{Label: canvas.LabelCommand, Text: sanitize.Clean(info.Command), Style: st.Plain})
		}
		for _, c := range info.Checks {
			mark, style := sanitize.Literal("✗ "), st.Warn
			if c.Holds {
				mark, style = sanitize.Literal("✓ "), st.Plain
			}
			paras = append(paras, canvas.Para{Label: "Checked", Text: sanitize.Join(mark, sanitize.Clean(c.What)), Style: style})
		}
		if cut {
			paras = append(paras, canvas.Para{Label: "Length", Text: sanitize.Literal("It is longer than the player keeps; `tucdesk recordings play` plays all of it."), Style: st.Warn})
		}
		return paras
	}}
}
