package notice

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/vt"
)

func size() (cols, rows int) { return 40, 8 }

func resize(cols, rows uint16) error { return nil }

// screenOf gives what a terminal shows after some bytes.
func screenOf(out []byte) *vt.Terminal {
	cols, rows := size()
	e := vt.New(cols, rows, vt.Options{Scrollback: 100})
	_, _ = e.Write(out)
	return e
}

func rows(e *vt.Terminal) (all []string) {
	_, n := size()
	for y := range n {
		var b strings.Builder
		for _, c := range e.Line(nil, y) {
			b.WriteString(c.Text)
		}
		all = append(all, strings.TrimRight(b.String(), " "))
	}
	return all
}

// Before and after a program, notices are lines as in a log.
func TestPlain(t *testing.T) {
	var log, tty bytes.Buffer
	n := New(&log)
	n.Say(sanitize.Clean("alarm: one"))
	s := n.Over(&tty, size, resize)
	n.Say(sanitize.Clean("alarm: two"))
	s.Close()
	n.Say(sanitize.Clean("alarm: three"))
	if log.String() != "tucdesk: alarm: one\ntucdesk: alarm: three\n" || tty.String() != "\r\ntucdesk: alarm: two\r\n" {
		t.Errorf("said %q and, over a program, %q", log.String(), tty.String())
	}
}

// At a shell a notice stands on a line of its own, in a raw terminal.
func TestMainScreen(t *testing.T) {
	var out bytes.Buffer
	n := New(&out)
	s := n.Over(&out, size, func(_, _ uint16) error { t.Error("a shell was asked to draw again"); return nil })
	s.Write([]byte("alice@web-1:~$ "))
	n.Say(sanitize.Clean("alarm: the log forked"))
	s.Write([]byte("ls\r\n"))
	if got := rows(screenOf(out.Bytes())); got[0] != "alice@web-1:~$" || got[1] != "tucdesk: alarm: the log forked" || got[2] != "ls" {
		t.Errorf("shown:\n%s", strings.Join(got, "\n"))
	}
	s.Close()
}

// In an editor a notice covers the first rows for a while, leaves the cursor and colours
// where they were, and is said again after the editor.
func TestOtherScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		told := make(chan uint16, 4) // what the program was told of its rows
		n := New(&out)
		s := n.Over(&out, size, func(_, rows uint16) error { told <- rows; return nil })
		s.Write([]byte("$ vi\r\n\x1b[?1049h\x1b[H\x1b[2Jfirst\r\nsecond\x1b[31m\x1b(0\x1b[5;3H"))
		n.Say(sanitize.Clean("the connection to web-1 is lost"))
		e := screenOf(out.Bytes())
		got := rows(e)
		if got[0] != "tucdesk: the connection to web-1 is lost" || got[1] != "second" || e.Cursor().X != 2 || e.Cursor().Y != 4 {
			t.Errorf("cursor at %+v of:\n%s", e.Cursor(), strings.Join(got, "\n"))
		}
		s.Write([]byte("q"))
		e = screenOf(out.Bytes())
		if c := e.Line(nil, 4)[2]; c.Text != "─" || c.Style.Fg == (vt.Style{}).Fg || c.Style.Attrs&vt.Reverse != 0 {
			t.Errorf("after the notice the program draws %+v", c)
		}
		n.Say(sanitize.Clean("connected again"))
		if got := rows(screenOf(out.Bytes())); got[0] != "tucdesk: the connection to web-1 is lost" || got[1] != "tucdesk: connected again" {
			t.Errorf("two notices:\n%s", strings.Join(got, "\n"))
		}
		time.Sleep(stays - time.Second)
		if len(told) != 0 {
			t.Error("a notice went early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		close(told)
		var sizes []uint16
		for rows := range told {
			sizes = append(sizes, rows)
		}
		if !slices.Equal(sizes, []uint16{7, 8}) {
			t.Errorf("the program was told of %d rows", sizes)
		}
		s.Write([]byte("\x1b[?1049l$ "))
		s.Close()
		all := strings.Join(rows(screenOf(out.Bytes())), "\n")
		if !strings.Contains(all, "$ vi") || !strings.Contains(all, "\ntucdesk: the connection to web-1 is lost\ntucdesk: connected again") {
			t.Errorf("after the editor:\n%s", all)
		}
	})
}

// A program that ends on the other screen leaves the terminal on its own.
func TestEndsOnOtherScreen(t *testing.T) {
	var out bytes.Buffer
	n := New(&out)
	s := n.Over(&out, size, resize)
	s.Write([]byte("$ less\r\n\x1b[?25h\x1b[?2004;1049htext\x1b]0;half a ti"))
	n.Say(sanitize.Clean("ended"))
	if strings.Contains(out.String(), "ended") {
		t.Error("a notice within a title")
	}
	s.Close()
	s.Close()
	e := screenOf(out.Bytes())
	if got := rows(e); e.Modes().Alternate || got[0] != "$ less" || got[2] != "tucdesk: ended" {
		t.Errorf("left:\n%s", strings.Join(got, "\n"))
	}
}

// Many notices are not kept for ever.
func TestBound(t *testing.T) {
	var out bytes.Buffer
	n := New(&out)
	s := n.Over(&out, size, resize)
	s.Write([]byte("\x1b[?1049h\x1b["))
	for range 10 * maxKept {
		n.Say(sanitize.Clean("again"))
	}
	s.Write([]byte("m\x1b[?1049l"))
	if got := strings.Count(out.String(), "again"); got != maxKept {
		t.Errorf("said %d times", got)
	}
	s.Close()
}

// However what a program writes is cut, and whenever something is to be said, the program's
// bytes pass unchanged, and no notice comes within a control or a character.
func TestNothingIsCut(t *testing.T) {
	whole := []string{
		"\r", "\x1b[1;31m", "\x1b[3;5H", "\x1b[?25l", "\x1b(0", "\x1b]0;title\x07", "\x1b]0;ti\xc3\xa9tle\x1b\\", "\x1bP$qm\x1b\\", "\x1b[38;2;1;2;3m",
		"\x1b#8", "\x1b7", "\x1b[?1049;47h", "\x1b_x\x18", "\x1b[2\x1a", "\x1b[1\x07m", "\u00ef", "\u4e16", "\U0001f600", "a",
	}
	rapid.Check(t, func(t *rapid.T) {
		program, inside := "\x1b[?1049h", map[int]bool{}
		for _, word := range rapid.SliceOfN(rapid.SampledFrom(whole), 0, 30).Draw(t, "program") {
			for i := 1; i < len(word); i++ {
				inside[len(program)+i] = true
			}
			program += word
		}
		var out bytes.Buffer
		n := New(&out)
		s := n.Over(&out, size, resize)
		for rest := []byte(program); len(rest) > 0; {
			k := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			s.Write(rest[:k])
			rest = rest[k:]
			if rapid.Bool().Draw(t, "say") {
				n.Say(sanitize.Clean("n"))
			}
		}
		const begin, end = "\x1b7\x0f\x1b(B\x1b[0;7m", "\x1b[0m\x1b8"
		plain := out.String()
		for at := strings.Index(plain, begin); at >= 0; at = strings.Index(plain, begin) {
			if inside[at] {
				t.Fatalf("a notice comes after %q of %q", program[:at], program)
			}
			plain = plain[:at] + plain[at+strings.Index(plain[at:], end)+len(end):]
		}
		if plain != program {
			t.Fatalf("the program wrote %q, of which there is %q", program, plain)
		}
		s.Close()
	})
}
