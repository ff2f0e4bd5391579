package program

import (
	"bytes"
	"io"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// Restore puts a terminal into the state that a shell expects, whatever state it
// was in: modes off, main screen, cursor shown. It is for whoever finds a terminal
// that its program has not restored.
const Restore = ansi.ResetModeSynchronizedOutput +
	ansi.ResetModeMouseNormal + ansi.ResetModeMouseButtonEvent + ansi.ResetModeMouseAnyEvent + ansi.ResetModeMouseExtSgr +
	ansi.ResetModeFocusEvent + ansi.ResetModeBracketedPaste +
	"\x1b[<u" + // kitty keyboard: drop what was pushed
	ansi.ResetModeAltScreenSaveCursor + ansi.ShowCursor + ansi.ResetStyle

// questions are asked at the start: the background, for a theme, the keyboard, and DA1, which
// every terminal answers, so that its answer says that the others have come.
const questions = ansi.RequestBackgroundColor + ansi.RequestKittyKeyboard + ansi.RequestPrimaryDeviceAttributes

// A screen is what the terminal shows. Its bytes collect until they are taken.
type screen struct {
	*uv.TerminalScreen
	out        bytes.Buffer
	cols, rows int
	have       Modes
}

// newScreen makes a screen of no size for a terminal at tty.
func newScreen(tty io.Writer, environ []string, colours colorprofile.Profile) *screen {
	s := &screen{}
	s.TerminalScreen = uv.NewTerminalScreen(&s.out, environ)
	if colours == colorprofile.Unknown {
		colours = colorprofile.Detect(tty, environ)
	}
	s.SetColorProfile(colours)
	s.SetSynchronizedUpdates(true)
	return s
}

// enter prepares the terminal, and asks it what it is.
func (s *screen) enter(title string) {
	s.EnterAltScreen()
	s.HideCursor()
	s.EnableBracketedPaste()
	s.SetWindowTitle(title)
	s.WriteString(questions)
}

// again prepares a terminal that somebody else has used in between. The next frame
// is painted whole.
func (s *screen) again() {
	s.TerminalScreen.Restore()
	s.have = Modes{}
	s.Resize(s.cols, s.rows)
}

// leave gives the bytes that undo enter.
func (s *screen) leave() []byte {
	s.TerminalScreen.Reset()
	s.WriteString(change(s.have, Modes{}))
	s.have = Modes{}
	return append(s.taken(), Restore...)
}

func (s *screen) resize(cols, rows int) {
	s.cols, s.rows = cols, rows
	s.Resize(cols, rows)
}

// paint draws a frame, and takes the bytes that show it.
func (s *screen) paint(draw func(uv.Screen) *tea.Cursor) []byte {
	_ = s.Display(frame(func(on uv.Screen) { // into memory
		if cursor := draw(on); cursor == nil {
			s.HideCursor()
		} else {
			s.SetCursorPosition(cursor.X, cursor.Y)
			s.ShowCursor()
		}
	}))
	return s.taken()
}

// A frame is a function that draws.
type frame func(uv.Screen)

// Draw implements uv.Drawable.
func (f frame) Draw(on uv.Screen, _ uv.Rectangle) { f(on) }

// taken takes the bytes that have collected.
func (s *screen) taken() []byte {
	_ = s.Flush() // into memory
	b := bytes.Clone(s.out.Bytes())
	s.out.Reset()
	return b
}
