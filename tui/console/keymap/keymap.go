// Package keymap is the console's keys as data, from which footer, help and the
// palette of actions come.
// What an action does is the model's business.
//
// Invariants: the maps are what everybody begins with, and nothing changes them; what
// a person binds otherwise is a Keys beside them. No key means two things in one place.
package keymap

import (
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// An Action is what a key does.
type Action uint8

// What keys do.
const (
	actNone Action = iota
	ActHelp
	ActQuit
	ActAgents
	ActApprovals
	ActNextTab
	ActPrevTab
	ActCloseTab
	ActUp
	ActDown
	ActPageUp
	ActPageDown
	ActTop
	ActBottom
	ActOpen
	ActExec
	ActFilter
	ActDetails
	ActRefresh
	ActApprove
	ActDeny
	ActShow
	ActBack
	ActScroll
	ActAgain
	ActYes
	ActCopyMode
	ActSelect
	ActSelectLine
	ActCopy
	ActNextFound
	ActPrevFound
	ActLeft
	ActRight
	ActLineStart
	ActLineEnd
	ActSplitRight
	ActSplitBelow
	ActZoom
	ActFocusLeft
	ActFocusRight
	ActFocusUp
	ActFocusDown
	ActGrowLeft
	ActGrowRight
	ActGrowUp
	ActGrowDown
	ActPalette
	ActMark
	ActMarkAll
	ActSort
	ActGroup
	ActColumns
	ActViews
	ActSaid
	ActLayouts
	ActCast
	ActCastAll
	ActLinks
	ActRaw
	ActAudit
	ActPlay
	ActFollow
	ActPause
	ActFaster
	ActSlower
	ActIdle
	ActNextMarker
	ActPrevMarker
	ActTour
	ActAttach
	ActLive
	ActJoin
	ActWatchers
)

// names are the actions in a file.
var names = map[Action]string{
	ActHelp:       "help",
	ActQuit:       "quit",
	ActAgents:     "targets",
	ActApprovals:  "approvals",
	ActNextTab:    "next-tab",
	ActPrevTab:    "previous-tab",
	ActCloseTab:   "close",
	ActUp:         "up",
	ActDown:       "down",
	ActPageUp:     "page-up",
	ActPageDown:   "page-down",
	ActTop:        "first",
	ActBottom:     "last",
	ActOpen:       "open",
	ActExec:       "exec",
	ActFilter:     "filter",
	ActDetails:    "details",
	ActRefresh:    "refresh",
	ActApprove:    "approve",
	ActDeny:       "deny",
	ActShow:       "show",
	ActBack:       "back",
	ActScroll:     "scroll",
	ActAgain:      "again",
	ActYes:        "yes",
	ActCopyMode:   "copy-mode",
	ActSelect:     "select",
	ActSelectLine: "select-line",
	ActCopy:       "copy",
	ActNextFound:  "next-match",
	ActPrevFound:  "previous-match",
	ActLeft:       "left",
	ActRight:      "right",
	ActLineStart:  "line-start",
	ActLineEnd:    "line-end",
	ActSplitRight: "split-right",
	ActSplitBelow: "split-below",
	ActZoom:       "zoom",
	ActFocusLeft:  "focus-left",
	ActFocusRight: "focus-right",
	ActFocusUp:    "focus-up",
	ActFocusDown:  "focus-down",
	ActGrowLeft:   "grow-left",
	ActGrowRight:  "grow-right",
	ActGrowUp:     "grow-up",
	ActGrowDown:   "grow-down",
	ActPalette:    "actions",
	ActMark:       "mark",
	ActMarkAll:    "mark-all",
	ActSort:       "sort",
	ActGroup:      "group",
	ActColumns:    "columns",
	ActViews:      "views",
	ActSaid:       "messages",
	ActLayouts:    "layouts",
	ActCast:       "broadcast",
	ActCastAll:    "broadcast-all",
	ActLinks:      "links",
	ActRaw:        "zoom-raw",
	ActAudit:      "audit-log",
	ActPlay:       "play",
	ActFollow:     "follow",
	ActPause:      "pause",
	ActFaster:     "faster",
	ActSlower:     "slower",
	ActIdle:       "skip-idle",
	ActNextMarker: "next-marker",
	ActPrevMarker: "previous-marker",
	ActTour:       "tour",
	ActAttach:     "attach",
	ActLive:       "live-sessions",
	ActJoin:       "join",
	ActWatchers:   "watchers",
}

// String is the action's name in a file.
func (a Action) String() string { return names[a] }

// A Binding is one action, its keys, and how help names it. Keys are in
// Bubble Tea's spelling; the first is the one that the footer shows.
type Binding struct {
	Action Action
	Keys   []string
	help   string
	footer string // one word; empty keeps it out of the footer
}

// A Map is the keys of one place. Digits 1 to 9 are no part of it: they
// always name a tab.
type Map struct {
	Name     string
	Bindings []Binding
}

// The keys of each place.
var (
	moveKeys = []Binding{
		{ActDown, []string{"down", "j"}, "next row", ""},
		{ActUp, []string{"up", "k"}, "previous row", ""},
		{ActPageDown, []string{"pgdown", "ctrl+f"}, "next page", ""},
		{ActPageUp, []string{"pgup", "ctrl+b"}, "previous page", ""},
		{ActTop, []string{"home", "g"}, "first row", ""},
		{ActBottom, []string{"end", "G"}, "last row", ""},
	}
	helpKeys = []Binding{
		{ActHelp, []string{"?"}, "all keys", "keys"},
		{ActPalette, []string{"ctrl+p", ":"}, "find an action by its name, and run it", "actions"},
	}
	everywhereKeys = []Binding{
		{ActAgents, []string{"a"}, "the list of targets", ""},
		{ActApprovals, []string{"v"}, "the queue of approvals", "approvals"},
		{ActNextTab, []string{"tab", "n"}, "next tab", ""},
		{ActPrevTab, []string{"shift+tab", "p"}, "previous tab", ""},
		{ActLayouts, []string{"l"}, "layouts: keep or open one", ""},
		{ActLive, []string{"o"}, "live sessions of others: observe or join", ""},
		{ActAudit, []string{"t"}, "the audit log, and recordings of sessions", ""},
		{ActSaid, []string{"m"}, "messages: what was said", ""},
		{ActTour, []string{"T"}, "the tour: what the console can do, step by step", ""},
	}

	AgentKeys = Map{"Targets", slices.Concat(helpKeys, []Binding{
		{ActOpen, []string{"enter"}, "open a login shell", "shell"},
		{ActExec, []string{"x"}, "run one command, without a shell", "exec"},
		{ActFilter, []string{"/"}, "filter: words, and env:prod for tags", "filter"},
		{ActMark, []string{"space"}, "mark, for one exec on many", "mark"},
		{ActDetails, []string{"i"}, "details: verdict, rule and line", "why"},
		{ActViews, []string{"w"}, "views: choose or keep one", "views"},
		{ActAttach, []string{"A"}, "attach: come back to a shell of yours that runs", ""},
		{ActMarkAll, []string{"*"}, "mark all shown, or none", ""},
		{ActSort, []string{"s"}, "sort by name, state or tag", ""},
		{ActGroup, []string{"b"}, "group by a tag", ""},
		{ActColumns, []string{"c"}, "choose columns of tags", ""},
		{ActBack, []string{"esc"}, "drop the marks, or the filter", ""},
		{ActRefresh, []string{"r"}, "ask for the list again", ""},
		{ActQuit, []string{"q", "ctrl+c"}, "quit", "quit"},
	}, everywhereKeys, moveKeys)}

	ApprovalKeys = Map{"Approvals", slices.Concat(helpKeys, []Binding{
		{ActShow, []string{"enter", "space"}, "show the whole request, to decide it", "show"},
		{ActRefresh, []string{"r"}, "ask for the queue again", ""},
		{ActBack, []string{"esc"}, "back to the targets", "targets"},
		{ActQuit, []string{"q", "ctrl+c"}, "quit", "quit"},
	}, without(everywhereKeys, ActApprovals), []Binding{
		{ActApprovals, []string{"v"}, "the queue of approvals", ""},
	}, moveKeys)}

	// TerminalKeys follow the prefix where a program runs; in a tab where
	// none runs they need no prefix.
	TerminalKeys = Map{"Terminals", slices.Concat(helpKeys, []Binding{
		{ActScroll, []string{"[", "pgup"}, "scroll back", "scroll"},
		{ActCopyMode, []string{"c"}, "search what was shown, and copy of it", "copy"},
		{ActCloseTab, []string{"x"}, "close the tab, ending its program", "close"},
		{ActSplitRight, []string{"|", "s"}, "split: a shell on this target, to the right", "split"},
		{ActSplitBelow, []string{"-"}, "split: a shell on this target, below", ""},
		{ActZoom, []string{"z"}, "zoom: all of the screen for one pane, and back", ""},
		{ActRaw, []string{"Z"}, "zoom raw: its own screen", ""},
		{ActCast, []string{"b"}, "broadcast: in or out of it", ""},
		{ActCastAll, []string{"B"}, "broadcast to all seen, or end", ""},
		{ActLinks, []string{"u"}, "links on the screen: open one", ""},
		{ActFocusLeft, []string{"left"}, "to the pane at the left", ""},
		{ActFocusRight, []string{"right"}, "to the pane at the right", ""},
		{ActFocusUp, []string{"up"}, "to the pane above", ""},
		{ActFocusDown, []string{"down"}, "to the pane below", ""},
		{ActGrowLeft, []string{"H"}, "move the edge of the pane to the left", ""},
		{ActGrowRight, []string{"L"}, "move the edge of the pane to the right", ""},
		{ActGrowUp, []string{"K"}, "move the edge of the pane up", ""},
		{ActGrowDown, []string{"J"}, "move the edge of the pane down", ""},
		{ActDetails, []string{"i"}, "what protects this terminal", ""},
		{ActAgain, []string{"r", "enter"}, "open again, once it ended", ""},
		{ActYes, []string{"y"}, "confirm the program start that waits", ""},
		{ActWatchers, []string{"w"}, "who watches this shell: end it", ""},
		{ActQuit, []string{"q"}, "quit", ""},
	}, everywhereKeys)}

	ScrollKeys = Map{"Scrolling back", slices.Concat([]Binding{
		{ActBack, []string{"esc", "q"}, "back to the program", "back"},
	}, moveKeys)}

	// FilterKeys and PaletteKeys leave letters to the line that is typed.
	FilterKeys = Map{"Typing a filter", []Binding{
		{ActOpen, []string{"enter"}, "to the list, filtered", "list"},
		{ActBack, []string{"esc", "ctrl+c"}, "drop the filter that is typed", "drop"},
		{ActPalette, []string{"ctrl+p"}, "find an action by its name, and run it", "actions"},
		{ActDown, []string{"down"}, "next row", ""},
		{ActUp, []string{"up"}, "previous row", ""},
	}}

	PaletteKeys = Map{"Finding an action", []Binding{
		{ActOpen, []string{"enter"}, "run the action", "run"},
		{ActBack, []string{"esc", "ctrl+c", "ctrl+p"}, "back", "back"},
		{ActDown, []string{"down"}, "next action", "next"},
		{ActUp, []string{"up"}, "previous action", ""},
		{ActPageDown, []string{"pgdown"}, "next page", ""},
		{ActPageUp, []string{"pgup"}, "previous page", ""},
	}}

	CopyKeys = Map{"Searching and copying", slices.Concat([]Binding{
		{ActFilter, []string{"/"}, "search back: a regular expression", "search"},
		{ActNextFound, []string{"n"}, "to the next match", ""},
		{ActPrevFound, []string{"N"}, "to the match before", ""},
		{ActSelect, []string{"space", "v"}, "select from here on", "select"},
		{ActSelectLine, []string{"V"}, "select this line", ""},
		{ActCopy, []string{"enter", "y"}, "copy to your clipboard (OSC 52)", "copy"},
		{ActBack, []string{"esc", "q"}, "drop the selection, or back", "back"},
		{ActLeft, []string{"left", "h"}, "left", ""},
		{ActRight, []string{"right", "l"}, "right", ""},
		{ActLineStart, []string{"0"}, "to the begin of the line", ""},
		{ActLineEnd, []string{"$"}, "to the end of the line", ""},
	}, moveKeys)}

	RequestKeys = Map{"A request", slices.Concat([]Binding{
		{ActApprove, []string{"a"}, "approve, once it was read to its end", "approve"},
		{ActDeny, []string{"d"}, "deny, with a reason", "deny"},
		{ActBack, []string{"esc", "q"}, "back", "back"},
	}, moveKeys)}

	LiveKeys = Map{"Live sessions", slices.Concat([]Binding{
		{ActOpen, []string{"enter"}, "observe: see it, and type nothing", "observe"},
		{ActJoin, []string{"t"}, "join: see it, and type in it, too", "type"},
		{ActFilter, []string{"/"}, "filter: words of target, member or user", "filter"},
		{ActRefresh, []string{"r"}, "ask for the list again", ""},
		{ActBack, []string{"esc", "q"}, "drop the filter, or back", "back"},
	}, moveKeys)}

	AuditKeys = Map{"The audit log", slices.Concat([]Binding{
		{ActShow, []string{"enter", "i"}, "all of the entry, and what is proved of it", "details"},
		{ActPlay, []string{"p"}, "play the recording of the entry's session", "play"},
		{ActFilter, []string{"/"}, "filter: words, and actor:bob target:db kind:exec", "filter"},
		{ActFollow, []string{"f"}, "follow: stay at the newest", "follow"},
		{ActBack, []string{"esc", "q"}, "drop the filter, or back", "back"},
	}, moveKeys)}

	EntryKeys = Map{"An entry of the audit log", slices.Concat([]Binding{
		{ActPlay, []string{"p"}, "play the recording of its session", "play"},
		{ActBack, []string{"esc", "enter", "q"}, "back", "back"},
	}, moveKeys)}

	PlayerKeys = Map{"Playing a recording", []Binding{
		{ActPause, []string{"space"}, "play, or pause", "pause"},
		{ActLeft, []string{"left", "h"}, "5 seconds back", ""},
		{ActRight, []string{"right", "l"}, "5 seconds on", "seek"},
		{ActPageUp, []string{"pgup"}, "a minute back", ""},
		{ActPageDown, []string{"pgdown"}, "a minute on", ""},
		{ActFaster, []string{"+", "up"}, "faster", "speed"},
		{ActSlower, []string{"-", "down"}, "slower", ""},
		{ActIdle, []string{"i"}, "skip pauses, or keep them", "idle"},
		{ActFilter, []string{"/"}, "find a word in the recording", "search"},
		{ActNextFound, []string{"n"}, "to the next match", ""},
		{ActPrevFound, []string{"N"}, "to the match before", ""},
		{ActNextMarker, []string{"m"}, "to the next marker: a gated command, an approval", "marker"},
		{ActPrevMarker, []string{"M"}, "to the marker before", ""},
		{ActTop, []string{"home", "g"}, "to the beginning", ""},
		{ActBottom, []string{"end", "G"}, "to the end", ""},
		{ActDetails, []string{"c"}, "what was checked of this recording", ""},
		{ActBack, []string{"esc", "q"}, "back", "back"},
	}}

	TourKeys = Map{"The tour", []Binding{
		{ActRight, []string{"enter", "right", "space", "n"}, "the next step", "next"},
		{ActLeft, []string{"left", "p", "backspace"}, "the step before", "before"},
		{ActBack, []string{"esc", "q", "ctrl+c"}, "end the tour", "end the tour"},
	}}

	NoticeKeys = Map{"A notice", slices.Concat([]Binding{
		{ActBack, []string{"esc", "enter", "q", "space"}, "back", "back"},
	}, moveKeys)}
)

// All is every map that help shows.
var All = []*Map{&AgentKeys, &FilterKeys, &ApprovalKeys, &RequestKeys, &TerminalKeys, &ScrollKeys, &CopyKeys, &LiveKeys, &AuditKeys, &EntryKeys, &PlayerKeys, &PaletteKeys}

func without(bs []Binding, a Action) []Binding {
	var out []Binding
	for _, b := range bs {
		if b.Action != a {
			out = append(out, b)
		}
	}
	return out
}

// Lookup returns what a key does here.
func (m *Map) Lookup(key string) Action {
	for _, b := range m.Bindings {
		for _, k := range b.Keys {
			if k == key {
				return b.Action
			}
		}
	}
	return actNone
}

// Footer is the line of the most needed keys.
func (m *Map) Footer(c *canvas.Canvas) []canvas.Span {
	var spans []canvas.Span
	for _, b := range m.Bindings {
		if b.footer == "" || len(b.Keys) == 0 {
			continue
		}
		if spans != nil {
			spans = append(spans, canvas.Lit(c.Styles.Plain, "  "))
		}
		spans = append(spans, canvas.Lit(c.Styles.Bold, b.Keys[0]), canvas.Lit(c.Styles.Faint, " "+b.footer))
	}
	return spans
}

// A Hint is an action that matters just now, and a word or two for it.
type Hint struct {
	Action Action
	Word   string
}

// Hints is a footer of a few actions, in the order given.
func (m *Map) Hints(c *canvas.Canvas, hints ...Hint) []canvas.Span {
	few := Map{Name: m.Name}
	for _, h := range hints {
		for _, b := range m.Bindings {
			if b.Action == h.Action {
				b.footer = h.Word
				few.Bindings = append(few.Bindings, b)
			}
		}
	}
	return few.Footer(c)
}

// HelpLine is what help says of a binding.
func HelpLine(b Binding) string {
	if len(b.Keys) < 2 {
		return b.help
	}
	return b.help + " (also " + strings.Join(b.Keys[1:], ", ") + ")"
}

// First is the key that is shown where there is room for one.
func (b Binding) First() string {
	if len(b.Keys) == 0 {
		return "-"
	}
	return b.Keys[0]
}

// Words are what a binding can be found by.
func (b Binding) Words() string { return b.help + " " + b.footer }

// Name is what a binding does.
func (b Binding) Name() sanitize.Text { return sanitize.Literal(b.help) }

// Moved is how many rows an action moves a cursor.
func Moved(a Action, page, rows int) int {
	switch a {
	case ActDown:
		return 1
	case ActUp:
		return -1
	case ActPageDown:
		return page
	case ActPageUp:
		return -page
	case ActTop:
		return -rows
	case ActBottom:
		return rows
	}
	return 0
}
