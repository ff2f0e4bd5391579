package program

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"pgregory.net/rapid"
)

// words says what messages are, one a line.
func words(msgs []tea.Msg) string {
	var out []string
	for _, m := range msgs {
		switch m := m.(type) {
		case InputMsg:
			if m.Key != nil {
				out = append(out, fmt.Sprintf("input %q key %s", m.Bytes, m.Key))
			} else {
				out = append(out, fmt.Sprintf("input %q", m.Bytes))
			}
		case tea.KeyPressMsg:
			out = append(out, "key "+m.String())
		case tea.PasteMsg:
			out = append(out, fmt.Sprintf("paste %q", m.Content))
		default:
			out = append(out, strings.TrimPrefix(reflect.TypeOf(m).String(), "program."))
		}
	}
	return strings.Join(out, "\n")
}

// all takes what there is, and then what there is when nothing more comes.
func (r *router) all(prefix string) (msgs []tea.Msg) {
	for _, expired := range []bool{false, true} {
		for {
			m, ok := r.next(prefix, expired)
			if !ok {
				break
			}
			msgs = append(msgs, m)
		}
	}
	return msgs
}

func TestRouter(t *testing.T) {
	const mine = "ctrl+]"
	for _, tc := range []struct{ name, prefix, in, want string }{
		{"text", mine, "ls -l\r", `input "ls -l\r"`},
		{"prefix", mine, "ab\x1dc", "input \"ab\"\nkey ctrl+]\ninput \"c\""},
		{"prefix alone", mine, "\x1d", "key ctrl+]"},
		{"another prefix", "alt+a", "\x1d\x1ba", "input \"\\x1d\"\nkey alt+a"},
		{"a function key as prefix", "f12", "x\x1b[24~", "input \"x\"\nkey f12"},
		{"arrow", mine, "\x1b[A", `input "\x1b[A" key up`},
		{"arrow, applications'", mine, "\x1bOA", `input "\x1bOA" key up`},
		{"alt", mine, "\x1bx", `input "\x1bx"`},
		{"escape", mine, "\x1b", `input "\x1b"`},
		{"escape twice", mine, "\x1b\x1b", `input "\x1b\x1b"`},
		{"alt bracket", mine, "\x1b[", `input "\x1b["`},
		{"what nobody knows", mine, "\x1b[99;99x", `input "\x1b[99;99x"`},
		{"no UTF-8", mine, "\xff\xfe", `input "\xff\xfe"`},
		{"C1", mine, "\x9b", `input "\x9b"`},
		{"paste", mine, "a\x1b[200~b\x1dc\x1b[A\x1b[201~d", "input \"a\"\npaste \"b\\x1dc\\x1b[A\"\ninput \"d\""},
		{"mouse and focus", mine, "\x1b[<0;5;10Mx\x1b[I", "tea.MouseClickMsg\ninput \"x\"\ntea.FocusMsg"},
		{"kitty's keyboard", mine, "\x1b[97;5u\x1b[97;5:3u\x1b[?1u\x1b[93;5u", "input \"\\x1b[97;5u\" key ctrl+a\ninput \"\\x1b[97;5:3u\"\nKeyboardMsg\nkey ctrl+]"},
		{"answers are nobody's", mine, "a\x1b[?62;22cb\x1b]11;rgb:0000/0000/0000\x07c", "input \"a\"\nattributesMsg\ninput \"b\"\ntea.BackgroundColorMsg\ninput \"c\""},
		{"a cursor report", mine, "\x1b[12;40R", "answerMsg"},
		{"mouse", mine, "\x1b[<0;3;4M", "tea.MouseClickMsg"},
		{"focus", mine, "\x1b[I\x1b[O", "tea.FocusMsg\ntea.BlurMsg"},
		{"the console's keys", "", "a\x1b[Aż\x1b", "key a\nkey up\nkey ż\nkey esc"},
		{"the console's controls", "", "\x03\x7f\r", "key ctrl+c\nkey backspace\nkey enter"},
		{"the console's paste", "", "\x1b[200~x\ny\x1b[201~", `paste "x\ny"`},
		{"the end of no paste", "", "\x1b[201~a", "key a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r router
			r.feed([]byte(tc.in))
			if got := words(r.all(tc.prefix)); got != tc.want {
				t.Errorf("%q:\n%s\nwant:\n%s", tc.in, got, tc.want)
			}
		})
	}
}

// TestEveryByte: each byte reaches the program as it was typed.
func TestEveryByte(t *testing.T) {
	for b := range 256 {
		if b == 0x1d {
			continue
		}
		var r router
		r.feed([]byte{byte(b)})
		msgs := r.all("ctrl+]")
		if len(msgs) != 1 {
			t.Fatalf("%#x: %s", b, words(msgs))
		}
		if in, ok := msgs[0].(InputMsg); !ok || !bytes.Equal(in.Bytes, []byte{byte(b)}) {
			t.Errorf("%#x: %s", b, words(msgs))
		}
	}
}

// TestSplit: where the reads were cut makes no difference, as long as the rest
// comes in time.
func TestSplit(t *testing.T) {
	const in = "a\x1b[A\x1bOBż\x1b[200~p\x1b[20\x1b[201~\x1b[<0;3;4M\x1b[15~\x1d\x1b]11;rgb:0/0/0\x1b\\é\x1b[1;5C."
	for _, prefix := range []string{"", "ctrl+]"} {
		var whole router
		whole.feed([]byte(in))
		want := join(whole.all(prefix))
		for i := range len(in) {
			var r router
			var got []tea.Msg
			for _, part := range []string{in[:i], in[i:]} {
				r.feed([]byte(part))
				for {
					m, ok := r.next(prefix, false)
					if !ok {
						break
					}
					got = append(got, m)
				}
			}
			if got := join(append(got, r.all(prefix)...)); got != want {
				t.Fatalf("prefix %q, cut at %d (%q):\n%s\nwant:\n%s", prefix, i, in[:i], got, want)
			}
		}
	}
}

// join puts runs of input together: where they are cut says nothing.
func join(msgs []tea.Msg) string {
	var out []tea.Msg
	for _, m := range msgs {
		in, is := m.(InputMsg)
		if is && in.Key == nil && len(out) > 0 {
			if last, was := out[len(out)-1].(InputMsg); was && last.Key == nil {
				out[len(out)-1] = InputMsg{Bytes: append(bytes.Clone(last.Bytes), in.Bytes...)}
				continue
			}
		}
		out = append(out, m)
	}
	return words(out)
}

func TestPasteIsBounded(t *testing.T) {
	var r router
	r.feed([]byte("\x1b[200~"))
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 20 {
		r.feed(chunk)
		if m, ok := r.next("ctrl+]", false); ok {
			t.Fatalf("%T in the middle of a paste", m)
		}
		if len(r.buf) > 1<<10 {
			t.Fatalf("%d bytes wait", len(r.buf))
		}
	}
	r.feed([]byte("\x1b[201~"))
	msgs := r.all("ctrl+]")
	if len(msgs) != 2 || len(msgs[0].(tea.PasteMsg).Content) != maxPaste || msgs[1] != (PasteCutMsg{}) {
		t.Errorf("%d messages", len(msgs))
	}
}

// FuzzRouter: whatever comes is cut into messages, without end or panic, and no
// byte of a program's is lost or made up.
func FuzzRouter(f *testing.F) {
	f.Add([]byte("a\x1b[Ab"), 3)
	f.Add([]byte("\x1b]11;?\x07\x1b[?1;2c\x1bP\x1b\\"), 5)
	f.Add([]byte("\x1b[200~\x1b[201~\x9b\x90\xff"), 1)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		size = max(1, size%64)
		for _, prefix := range []string{"", "ctrl+]"} {
			var r router
			n := 0
			for part := range bytesIn(in, size) {
				r.feed(part)
				for {
					m, ok := r.next(prefix, false)
					if !ok {
						break
					}
					if in, is := m.(InputMsg); is {
						n += len(in.Bytes)
					}
				}
			}
			for _, m := range r.all(prefix) {
				if in, is := m.(InputMsg); is {
					n += len(in.Bytes)
				}
			}
			if n > len(in) {
				t.Fatalf("%d bytes of %d", n, len(in))
			}
			if !r.pasting && !r.empty() {
				t.Fatalf("%q is never taken", r.buf)
			}
		}
	})
}

func bytesIn(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(size, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// TestInputIsKept: text between sequences reaches a program whole and in order.
func TestInputIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -Z^-~\n\t]{0,40}`).Draw(t, "text")
		var r router
		var got []byte
		for part := range bytesIn([]byte(text), rapid.IntRange(1, 7).Draw(t, "size")) {
			r.feed(part)
			for {
				m, ok := r.next("ctrl+]", false)
				if !ok {
					break
				}
				got = append(got, m.(InputMsg).Bytes...)
			}
		}
		if string(got) != text {
			t.Fatalf("%q, want %q", got, text)
		}
	})
}
