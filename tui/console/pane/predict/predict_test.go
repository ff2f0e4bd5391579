package predict

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// A bench is an engine over a terminal of 40 by 6 at a given time.
type bench struct {
	t   *testing.T
	e   Engine
	vt  *vt.Terminal
	now time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, e: Engine{When: Always}, vt: vt.New(40, 6, vt.Options{}), now: time.Unix(1e9, 0)}
	b.host("$ ")
	return b
}

func (b *bench) typed(s string) { b.e.Typed(b.vt, []byte(s), b.now) }

func (b *bench) host(s string) {
	b.vt.Write([]byte(s))
	b.e.Heard(b.vt, b.now)
}

// trust has the host echo a letter, so that the run is shown.
func (b *bench) trust() {
	b.typed("x")
	b.host("x")
}

// see fails unless the guesses that are shown are want, and the cursor is at x.
func (b *bench) see(want string, x int) {
	b.t.Helper()
	var got strings.Builder
	gx, _, ok := b.e.Shown(func(_, _ int, text string) { got.WriteString(text) })
	if !ok {
		gx = b.vt.Cursor().X
	}
	if got.String() != want || gx != x {
		b.t.Errorf("shown %q with the cursor at %d, want %q at %d", got.String(), gx, want, x)
	}
}

func TestShownOnceOneWasRight(t *testing.T) {
	b := newBench(t)
	b.typed("ls")
	b.see("", 2)
	b.host("l")
	b.see("s", 4)
	b.typed(" -")
	b.see("s -", 6)
	b.host("s -")
	b.see("", 6)
	b.typed("l")
	b.see("l", 7)
}

func TestBackspace(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("ab\x7f\x7fc")
	b.see("ab  c", 4)
	b.host("ab\b \b\b \bc")
	// The screen is as after the fewest that explain it, or after all.
	b.now = b.now.Add(time.Minute)
	b.e.Expire(b.vt, b.now)
	b.see("", 4)
	b.typed("d")
	b.see("d", 5)
}

func TestBackspaceStaysInTheRun(t *testing.T) {
	b := newBench(t)
	b.typed("\x7f")
	b.see("", 2)
	b.host("") // the prompt is not erased
	b.trust()
	b.typed("\x7f\x7f\x7f")
	b.see(" ", 2)
}

func TestPasswordIsNeverShown(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("sudo\r")
	b.host("sudo\r\nPassword: ")
	for _, r := range "secret*word" {
		b.typed(string(r))
		b.see("", 10)
		b.now = b.now.Add(100 * time.Millisecond)
	}
	b.now = b.now.Add(time.Minute)
	b.e.Expire(b.vt, b.now)
	b.typed("\r")
	b.host("\r\n$ ")
	b.typed("l")
	b.see("", 2)
	b.host("l")
	b.typed("s")
	b.see("s", 4)
}

// TestTypedAhead types a password before its prompt is there.
func TestTypedAhead(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("sudo\r")
	b.typed("secret")
	b.see("sudo", 7) // and no more
	b.host("sudo")
	b.typed("more")
	b.see("", 7)
	b.host("\r\nPassword: ")
	b.see("", 10)
	b.typed("s")
	b.see("", 10)
}

// TestPromptOfItself has the host ask for a password unasked.
func TestPromptOfItself(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.host("\r\nPassword: ")
	b.typed("secret")
	b.see("", 10)
	b.trust()
	b.typed("a")
	b.host("\r\n") // while a guess waits
	b.typed("b")
	b.see("", 0)
}

func TestMasksEarnNoTrust(t *testing.T) {
	for _, mask := range []string{"*", "•", " "} {
		b := newBench(t)
		for range 5 {
			b.typed(mask)
			b.host(mask)
			b.typed("s")
			b.see("", b.vt.Cursor().X)
			b.host(mask)
		}
	}
}

// TestEditor types commands that an editor does not echo, and then text.
func TestEditor(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("vi\r")
	b.host("vi\r\n\x1b[?1049h\x1b[2J\x1b[Hone\r\ntwo\r\n\x1b[H")
	b.typed("j")
	b.see("", 0)
	b.host("\x1b[2;1H")
	b.typed("x")
	b.host("\x1b[Pwo"[:3])
	b.see("", 0)
	b.typed("G")
	b.host("\x1b[5;1H")
	b.typed("i")
	b.host("\x1b[6;1H-- INSERT --\x1b[5;1H")
	b.typed("t")
	b.see("", 0)
	b.host("t") // i was no letter, so this one is not what was guessed
	b.typed("e")
	b.see("", 1)
	b.host("e")
	b.typed("x")
	b.see("x", 3)
	b.host("x")
	b.typed("\x1b")
	b.host("\b")
	b.typed("0")
	b.see("", 2)
}

func TestWide(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("漢a字")
	b.see("漢a字", 8)
	b.host("漢a")
	b.see("字", 8)
	b.typed("\x7f")
	b.see("字", 8) // half a letter is not guessed
	b.host("字\b\b  \b\b")
	b.typed("b")
	b.see("", 6)
}

func TestLastColumn(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed(strings.Repeat("a", 36))
	b.see(strings.Repeat("a", 36), 39)
	b.typed("bc")
	b.see(strings.Repeat("a", 36), 39)
	b.host(strings.Repeat("a", 36) + "b" + "c")
	b.see("", 1)
	b.typed("d")
	b.see("", 1)
	b.host("d")
	b.typed("e")
	b.see("e", 3)
}

func TestTab(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("ca\t")
	b.see("ca", 5)
	b.typed("z")
	b.see("ca", 5)
	b.host("cathedral ")
	b.see("", 13)
	b.typed("q")
	b.see("", 13)
	b.host("q")
	b.typed("r")
	b.see("r", 15)
}

func TestBulk(t *testing.T) {
	b := newBench(t)
	b.trust()
	for i := range 100 {
		b.host(fmt.Sprintf("line %d\r\nrest", i))
		b.typed("a")
		b.see("", 4)
	}
}

func TestInTheMiddle(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("abc")
	b.host("abc")
	b.typed("\x1b[D")
	b.host("\b")
	b.typed("z")
	b.see("", 5)
	b.host("zc\b")
	b.typed("y")
	b.see("", 6)
}

func TestOddEcho(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("abc")
	b.see("abc", 6)
	b.host("ABC") // wrong letters
	b.see("", 6)
	b.typed("d")
	b.see("", 6)
}

func TestSyncedScreenWaits(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("a")
	b.host("\x1b[?2026h\x1b[H")
	b.see("a", 4)
	b.host("\x1b[1;4Ha\x1b[?2026l")
	b.see("", 4)
	b.typed("b")
	b.see("b", 5)
}

func TestUnansweredIsDropped(t *testing.T) {
	b := newBench(t)
	b.trust()
	b.typed("a")
	b.now = b.now.Add(patience - 1)
	b.e.Expire(b.vt, b.now)
	b.see("a", 4)
	b.now = b.now.Add(1)
	b.e.Expire(b.vt, b.now)
	b.see("", 3)
	if _, waits := b.e.Due(); waits {
		t.Error("a guess still waits")
	}
}

func TestAutoGoesByTheWay(t *testing.T) {
	b := newBench(t)
	b.e.When = Auto
	b.trust()
	b.typed("a")
	for _, step := range []struct {
		rtt  time.Duration
		want string
	}{
		{5 * time.Millisecond, ""}, {25 * time.Millisecond, ""}, {30 * time.Millisecond, "a"}, {25 * time.Millisecond, "a"}, {19 * time.Millisecond, ""},
		{0, ""},
	} {
		b.e.Rate(step.rtt)
		b.see(step.want, 3+len(step.want))
	}
	b.now = b.now.Add(90 * time.Millisecond)
	b.host("a")
	for range 4 {
		b.typed("b")
		b.now = b.now.Add(90 * time.Millisecond)
		b.host("b")
	}
	b.e.Rate(0) // as long as echoes took
	b.typed("c")
	b.see("c", 9)
	b.e.When = Never
	b.see("", 8)
	b.typed("d")
	b.see("", 8)
}

func TestParseWhen(t *testing.T) {
	for s, want := range map[string]When{"": Auto, "auto": Auto, "always": Always, "never": Never} {
		if got, err := ParseWhen(s); got != want || err != nil {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	if _, err := ParseWhen("yes"); err == nil {
		t.Error("yes was taken")
	}
}

// TestNeverShownWhereNothingIsEchoed types at random into a host that answers at
// random and never echoes a letter that was typed.
func TestNeverShownWhereNothingIsEchoed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := newBench(t)
	for range 20_000 {
		switch rng.IntN(6) {
		case 0:
			b.host([]string{"\r\n", "#", "\b", "\x1b[H", "\x1b[3;7H", "\x1b[K", "\x1b[2J", "字"}[rng.IntN(8)])
		case 1:
			b.typed([]string{"\r", "\x7f", "\t", "\x1b[A", "\x03"}[rng.IntN(5)])
		case 2:
			b.now = b.now.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
			b.e.Expire(b.vt, b.now)
		default:
			b.typed(string(rune('a' + rng.IntN(26))))
		}
		if _, _, ok := b.e.Shown(func(int, int, string) {}); ok {
			t.Fatal("a letter is shown that nobody echoed")
		}
		if len(b.e.guesses) > maxGuesses {
			t.Fatal("too many guesses")
		}
	}
}

// FuzzEngine feeds anything typed and anything heard, in turns.
func FuzzEngine(f *testing.F) {
	f.Add([]byte("ls\x7f漢\r"), []byte("ls\b \b漢\r\n$ "), uint8(3))
	f.Add([]byte("\x1b[A\x00é*"), []byte("\x1b[?2026h\x1b[2J\x1b[?25l"), uint8(1))
	f.Fuzz(func(t *testing.T, typed, heard []byte, step uint8) {
		e := Engine{When: Always}
		screen := vt.New(20, 4, vt.Options{})
		now := time.Unix(1e9, 0)
		n := int(step)%7 + 1
		for len(typed)+len(heard) > 0 {
			k := min(n, len(typed))
			e.Typed(screen, typed[:k], now)
			typed = typed[k:]
			k = min(n, len(heard))
			screen.Write(heard[:k])
			e.Heard(screen, now)
			heard = heard[k:]
			now = now.Add(200 * time.Millisecond)
			e.Expire(screen, now)
			x, y, ok := e.Shown(func(x, y int, text string) {
				if x < 0 || x > 19 || y < 0 || y > 3 || text == "" {
					t.Fatalf("a guess %q at %d,%d", text, x, y)
				}
			})
			if ok && (x < 0 || x > 19 || y < 0 || y > 3) || len(e.guesses) > maxGuesses {
				t.Fatalf("the cursor at %d,%d; %d guesses", x, y, len(e.guesses))
			}
		}
	})
}
