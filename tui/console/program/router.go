package program

import (
	"bytes"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
)

// An InputMsg is something typed that belongs to the program in the focused
// terminal. Bytes are as they came. Key is set where they are a key that a
// program may want in another encoding: an arrow, a function key.
type InputMsg struct {
	Bytes []byte
	Key   *tea.KeyPressMsg
}

const (
	// waitPartial is how long the rest of an escape sequence may take, and
	// waitRemote the same where the terminal is at the far end of SSH.
	waitPartial = 10 * time.Millisecond
	waitRemote  = 25 * time.Millisecond
	// maxSequence bounds what is looked at again and again because its end has
	// not come, in bytes.
	maxSequence = 4 << 10
	// maxPaste bounds a paste, in bytes. The rest of a longer one is dropped,
	// and the paste says so.
	maxPaste = 16 << 20
)

// A PasteCutMsg follows a tea.PasteMsg that was longer than can be taken.
type PasteCutMsg struct{}

const (
	bel      = 0x07
	esc      = 0x1b
	pasteEnd = "\x1b[201~"
)

// A router cuts what is read from a terminal into messages. Whom a byte belongs to
// is decided when it is taken, after everything before it had its effect.
type router struct {
	decode  uv.EventDecoder
	buf     []byte
	queue   []tea.Msg // decoded at once with what was taken last
	pasting bool
	paste   []byte
	cut     bool
}

func (r *router) feed(b []byte) { r.buf = append(r.buf, b...) }

// empty says whether nothing waits for the rest of it.
func (r *router) empty() bool { return len(r.buf) == 0 && len(r.queue) == 0 }

// next takes one message. It gives none where nothing is left, or where what is
// left may be the beginning of something; expired says that the rest has not come
// in time. With a prefix, keys go to a program, but for the prefix itself.
func (r *router) next(prefix string, expired bool) (tea.Msg, bool) {
	for {
		if len(r.queue) > 0 {
			msg := r.queue[0]
			r.queue = r.queue[1:]
			return msg, true
		}
		if len(r.buf) == 0 {
			return nil, false
		}
		if r.pasting {
			if !r.takePaste() {
				return nil, false
			}
			continue
		}
		if prefix != "" {
			if n := plain(r.buf, prefix); n > 0 {
				return InputMsg{Bytes: r.take(n)}, true
			}
		}
		if !expired && !utf8.FullRune(r.buf) {
			return nil, false
		}
		n, event := r.decode.Decode(r.buf)
		if !expired && len(r.buf) < maxSequence && partial(r.buf, n, event) {
			return nil, false
		}
		if n <= 0 {
			n = 1
		}
		r.emit(r.take(n), event, prefix)
	}
}

// take removes n bytes.
func (r *router) take(n int) []byte {
	b := bytes.Clone(r.buf[:n])
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	return b
}

// plain is how many bytes at the beginning of b are no escape sequence and not the
// prefix.
func plain(b []byte, prefix string) int {
	control, is := controlByte(prefix)
	for i, c := range b {
		if c == esc || is && c == control {
			return i
		}
	}
	return len(b)
}

// controlByte is the byte of a key such as ctrl+], for the keys that have one.
func controlByte(key string) (byte, bool) {
	if len(key) != len("ctrl+]") || key[:5] != "ctrl+" {
		return 0, false
	}
	switch c := key[5]; {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 1, true
	case c == '@':
		return 0, true
	case c >= '[' && c <= '_':
		return c - '@', true
	}
	return 0, false
}

// partial says whether an event may be only the beginning of one.
func partial(b []byte, n int, event uv.Event) bool {
	if n == 0 {
		return true
	}
	if b[0] != esc || n < len(b) {
		return false
	}
	if n <= 2 && (n == 1 || bytes.IndexByte([]byte("[O]P_^X"), b[1]) >= 0) {
		return true // ESC alone, ESC [ and ESC O may be keys, and more often are not
	}
	if bytes.IndexByte([]byte("]P_^X"), b[1]) >= 0 {
		return b[n-1] != bel && !bytes.HasSuffix(b, []byte("\x1b\\"))
	}
	_, unknown := event.(uv.UnknownEvent)
	return unknown
}

// emit queues what an event means.
func (r *router) emit(b []byte, event uv.Event, prefix string) {
	switch e := event.(type) {
	case uv.MultiEvent:
		for _, one := range e {
			r.emit(b, one, prefix)
			b = nil
		}
		return
	case uv.PasteStartEvent:
		r.pasting = true
		return
	case uv.PasteEndEvent:
		return // of no paste
	}
	msg, known := translate(event)
	if prefix == "" {
		if known {
			r.queue = append(r.queue, msg)
		}
		return
	}
	key, isKey := msg.(tea.KeyPressMsg)
	switch {
	case isKey && key.String() == prefix:
		r.queue = append(r.queue, key)
	case isRelease(msg):
		r.queue = append(r.queue, InputMsg{Bytes: b})
	case isKey && len(b) > 2:
		r.queue = append(r.queue, InputMsg{Bytes: b, Key: &key})
	case isKey || !known:
		if len(b) > 0 {
			r.queue = append(r.queue, InputMsg{Bytes: b})
		}
	default:
		r.queue = append(r.queue, msg)
	}
}

// isRelease says whether a key was let go, which a program may have asked to know.
func isRelease(msg tea.Msg) bool {
	_, is := msg.(tea.KeyReleaseMsg)
	return is
}

// takePaste takes what there is of a paste, and says whether it took anything.
func (r *router) takePaste() bool {
	end := bytes.Index(r.buf, []byte(pasteEnd))
	n := end
	if end < 0 {
		// The end may have begun.
		n = len(r.buf)
		for k := min(len(pasteEnd)-1, n); k > 0; k-- {
			if bytes.HasSuffix(r.buf, []byte(pasteEnd[:k])) {
				n -= k
				break
			}
		}
	}
	add := r.take(n)
	if room := maxPaste - len(r.paste); len(add) > room {
		add, r.cut = add[:room], true
	}
	r.paste = append(r.paste, add...)
	if end < 0 {
		return false
	}
	r.take(len(pasteEnd))
	r.queue = append(r.queue, tea.PasteMsg{Content: string(bytes.ToValidUTF8(r.paste, nil))})
	if r.cut {
		r.queue = append(r.queue, PasteCutMsg{})
	}
	r.pasting, r.paste, r.cut = false, nil, false
	return true
}

// translate gives Bubble Tea's message for an event, where a console can want it.
func translate(event uv.Event) (tea.Msg, bool) {
	switch e := event.(type) {
	case uv.KeyPressEvent:
		return tea.KeyPressMsg(e), true
	case uv.KeyReleaseEvent:
		return tea.KeyReleaseMsg(e), true
	case uv.MouseClickEvent:
		return tea.MouseClickMsg(e), true
	case uv.MouseReleaseEvent:
		return tea.MouseReleaseMsg(e), true
	case uv.MouseMotionEvent:
		return tea.MouseMotionMsg(e), true
	case uv.MouseWheelEvent:
		return tea.MouseWheelMsg(e), true
	case uv.FocusEvent:
		return tea.FocusMsg(e), true
	case uv.BlurEvent:
		return tea.BlurMsg(e), true
	case uv.BackgroundColorEvent:
		return tea.BackgroundColorMsg(e), true
	case uv.KeyboardEnhancementsEvent:
		return KeyboardMsg{}, true
	case uv.PrimaryDeviceAttributesEvent:
		return attributesMsg{}, true
	case uv.ForegroundColorEvent, uv.CursorColorEvent, uv.CursorPositionEvent, uv.ModeReportEvent, uv.WindowOpEvent,
		uv.SecondaryDeviceAttributesEvent, uv.TertiaryDeviceAttributesEvent, uv.TerminalVersionEvent, uv.CapabilityEvent,
		uv.ClipboardEvent, uv.ModifyOtherKeysEvent, uv.KittyGraphicsEvent,
		uv.DarkColorSchemeEvent, uv.LightColorSchemeEvent, uv.PixelSizeEvent, uv.CellSizeEvent, uv.WindowSizeEvent,
		uv.UnknownOscEvent, uv.UnknownDcsEvent, uv.UnknownSosEvent, uv.UnknownPmEvent, uv.UnknownApcEvent:
		// Answers of the terminal: nobody typed them.
		return answerMsg{}, true
	}
	return nil, false
}

// attributesMsg is the terminal's answer to DA1, and answerMsg any other. Both end
// in the runner.
type (
	attributesMsg struct{}
	answerMsg     struct{}
)
