//go:build unix

package console

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/vt"
)

// streams are what a machine, a member or a recording may send to whoever looks.
var streams = []struct{ name, bytes string }{
	{"clipboard", "\x1b]52;c;ZXZpbA==\x07"},
	{"clipboard, asked for", "\x1b]52;c;?\x1b\\"},
	{"clipboard by C1", "\u009d52;c;ZXZpbA==\u009c"},
	{"title", "\x1b]0;evil title\x07\x1b]2;evil title\x1b\\"},
	{"title, asked for", "\x1b[21t"},
	{"window", "\x1b[8;5;5t\x1b[3;0;0t\x1b[2t"},
	{"palette", "\x1b]4;1;rgb:00/00/00\x07\x1b]10;#000000\x07\x1b]11;#000000\x07\x1b]104\x07"},
	{"link", "\x1b]8;;file:///etc/passwd\x07click\x1b]8;;\x07"},
	{"notification", "\x1b]9;evil\x07\x1b]777;notify;evil;evil\x07\x1b]99;;evil\x1b\\"},
	{"working directory", "\x1b]7;file://evil/\x07\x1b]1337;SetUserVar=evil=1\x07"},
	{"DCS", "\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1bPq#0;2;0;0;0#0~~\x1b\\"},
	{"APC, PM, SOS", "\x1b_Gf=24;evil\x1b\\\x1b^evil\x1b\\\x1bXevil\x1b\\"},
	{"tmux and screen", "\x1bPtmux;\x1b\x1b]52;c;ZXZpbA==\x07\x1b\\\x1bkevil\x1b\\"},
	{"a string without an end", "\x1b]52;c;" + strings.Repeat("QUFB", 5000)},
	{"queries", "\x1b[c\x1b[>c\x1b[6n\x1b[?6n\x1b[5n\x1b[x\x1b[?2026$p\x1b]11;?\x07\x05"},
	{"modes", "\x1b[?1049h\x1b[?1000h\x1b[?1003h\x1b[?2004h\x1b[?7l\x1b[?5h\x1b[20h\x1b[4h\x1b[>4;2m\x1b[=31u"},
	{"reset", "\x1bc\x1b[!p\x1b#8"},
	{"charsets", "\x1b(0\x1b)0\x0e\x1b%G\x1b%@lqqk"},
	{"margins and origin", "\x1b[2;3r\x1b[?6h\x1b[?69h\x1b[1;1s\x1b[99;99H"},
	{"C1", "\u0090\u0098\u009b31m\u009dx\u009e\u009f\x84\x85\x9b2J"},
	{"bidi", "\u202eexe.cod\u202c \u2066x\u2069 \u200f\u061c"},
	{"invisible", "a\u200bb\u2060c\ufeff\U000e0041\u00ad"},
	{"graphemes without an end", "e" + strings.Repeat("\u0301", 5000) + "\U0001F468" + strings.Repeat("\u200d\U0001F468", 2000)},
	{"printer and media", "\x1b[5i\x1b[4i\x1b[?5i\x1b[0;1;2q\x1b[2 q"},
	{"no UTF-8", "\xff\xfe\xc0\xaf\xed\xa0\x80\xf5\x80"},
	{"a long line", strings.Repeat("0123456789abcdef", 20_000)},
}

// allowed is all that the console writes to its terminal: text, cursor movement, erasing,
// colours, its own modes and title, and the questions that it asks.
var allowed = regexp.MustCompile(`^(` + strings.Join([]string{
	`\x1b\[[0-9;:]*[ABCDEFGHJKLMPSTXZ@abdefgmr` + "`" + `]`, // text attributes, movement, erasing, scrolling
	`\x1b\[[0-9]* q`, `\x1b\[\?(1|7|25|47|1000|1002|1003|1004|1006|1049|2004|2026|2027|2031)(;[0-9]+)*[hl]`,
	`\x1b\[[0-9]*I`, `\x1b\[\?u`, `\x1b\[[<>=][0-9;]*u`, `\x1b\[>[0-9;]*m`, `\x1b\[[>?]?[0-9]*c`, `\x1b\[\?[0-9]+\$p`, `\x1b\[\?[0-9]*n`, `\x1b\[>[0-9]*q`,
	`\x1b\][012];TucDesk[^\x07\x1b]*(\x07|\x1b\\)`, `\x1b\][012];(\x07|\x1b\\)`, `\x1b\]1[01];\?(\x07|\x1b\\)`, `\x1b\]11[0-2](\x07|\x1b\\)`,
	`\x1b[=>78M]`, `\x1b\([B0]`, `[\r\n\x08\t\x07\x0f]`, `[^\x00-\x1f\x7f\x{80}-\x{9f}\x{ad}\x{61c}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2069}\x{feff}\x{e0000}-\x{e007f}\x{fffd}]`,
}, "|") + `)+`)

// A hostileTeam opens terminals that show whatever stands in streams, one after the
// other, each time that something is typed.
type hostileTeam struct{ backend.Backend }

func (b hostileTeam) Unwrap() backend.Backend { return b.Backend }

func (b hostileTeam) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	r, w := io.Pipe()
	return &hostileTerminal{r: r, w: w}, nil
}

type hostileTerminal struct {
	r    *io.PipeReader
	w    *io.PipeWriter
	next int
}

func (t *hostileTerminal) Read(p []byte) (int, error) { return t.r.Read(p) }

func (t *hostileTerminal) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '.' || t.next >= len(streams) {
			continue
		}
		what := streams[t.next].bytes
		if streams[t.next].name == "a long line" {
			what = strings.Repeat(what, longLine)
		}
		out := fmt.Sprintf("%s\x18\x1b\\\x1bc\x1b[3;5Hdone-%d-", what, t.next)
		t.next++
		go io.WriteString(t.w, out)
	}
	return len(p), nil
}

func (t *hostileTerminal) Close() error                 { t.w.Close(); return t.r.Close() }
func (t *hostileTerminal) Resize(uint16, uint16) error  { return nil }
func (t *hostileTerminal) Wait() (backend.Exit, error)  { return backend.Exit{}, nil }
func (t *hostileTerminal) Assurance() backend.Assurance { return backend.Assurance{} }

// TestHostileStreams: through a real pseudo-terminal, whatever comes in a pane, in names, in
// a command that waits for approval or in a recording, the console writes to its own
// terminal what it always does, and nothing else.
func TestHostileStreams(t *testing.T) {
	var targets []mem.Target
	for i, s := range streams {
		name := s.bytes[:min(len(s.bytes), 300)]
		targets = append(targets, mem.Target{
			Target:  backend.Target{ID: backend.TargetID(fmt.Sprintf("%02d", i)), Name: fmt.Sprintf("%02d", i) + name, State: backend.Online, Tags: map[string]string{"env": name}},
			Verdict: backend.Verdict{Effect: backend.Hold, Rule: name, Reason: name, Approvers: name},
		})
	}
	world, err := mem.NewWorld(targets)
	if err != nil {
		t.Fatal(err)
	}
	film := mem.Film{RecordingInfo: backend.RecordingInfo{Title: streams[0].bytes, Cols: 80, Rows: 24, Length: time.Minute}}
	var argv []string
	for i, s := range streams {
		film.Script = append(film.Script, backend.RecordingEvent{At: time.Duration(i), Output: s.bytes + "\x18\x1b\\\x1bc"}, backend.RecordingEvent{At: time.Duration(i), Marker: s.bytes})
		argv = append(argv, s.bytes[:min(len(s.bytes), 300)])
	}
	film.Script = append(film.Script, backend.RecordingEvent{At: time.Second, Output: "\x1b[H\x1b[2Jfilm-shown"})
	world.Recorded("77", film)
	world.Happened(backend.LogEntry{Type: streams[0].bytes, Actor: "alice" + streams[3].bytes, Target: streams[10].bytes, Reason: streams[20].bytes, Argv: argv, Session: "77"})
	if _, err := world.Backend("alice").Ask(t.Context(), backend.OpenRequest{Target: "00", Kind: backend.KindExec, Argv: argv, Reason: streams[1].bytes}); err != nil {
		t.Fatal(err)
	}

	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var raw strings.Builder
	outer := vt.New(80, 24, vt.Options{})
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			raw.Write(buf[:n])
			outer.Write(buf[:n])
			answer := outer.Replies()
			mu.Unlock()
			master.Write(answer)
		}
	}()
	see := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			var screen []byte
			for y := range 24 {
				line, _ := outer.Text(nil, y)
				screen = append(append(screen, line...), '\n')
			}
			mu.Unlock()
			if strings.Contains(string(screen), want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q never came:\n%s", want, screen)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, hostileTeam{world.Backend(mem.Auditor)}, Options{In: tty, Out: tty, Environ: append(os.Environ(), "TERM=xterm-256color")})
	}()
	keys := func(s string) { master.WriteString(s) }

	see("00⟨ESC⟩]52")
	for i := range streams { // each name, and what its verdict says, below the list
		see(fmt.Sprintf("> ● %02d", i))
		keys("j")
	}
	keys("g")
	see("> ● 00")
	keys("i")
	see("esc back")
	keys("\x1b")
	see("enter shell")
	keys("v")
	see("enter show")
	keys("\r")
	see("d deny")
	see(sanitize.Argv(argv).String()[:60]) // as it is there, in Go's notation
	for range 12 {                         // all of it is drawn, page by page
		keys("\x1b[6~")
		time.Sleep(20 * time.Millisecond)
	}
	see("a approves, d denies")
	keys("\x1b")
	see("enter show")
	keys("t")
	see("1 of 1 entries")
	keys("\r")
	see("Entry 0")
	keys("p")
	see("film-shown")
	keys("\x1b")
	see("Entry 0")
	keys("q")
	see("enter details")
	keys("q")
	see("enter show")
	keys("a")
	see("enter shell")
	keys("\r")
	see("[3 ")
	for i := range streams {
		keys(".")
		see(fmt.Sprintf("done-%d-", i))
		if i%5 == 0 { // and a storm of sizes
			for _, size := range []uint16{1, 300, 7, 80} {
				pty.Setsize(master, &pty.Winsize{Cols: size, Rows: 24})
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, bad := range append([]string{"\x1b]8;;x\x07", "\x1b[21t", "\x1b[8;5;5t", "\u009b2J", "\u202e", "\x1bc"}, streams[0].bytes, streams[3].bytes, streams[8].bytes, streams[10].bytes, streams[11].bytes) {
		if len(allowed.FindString(bad)) == len(bad) {
			t.Errorf("%q would not be found", bad)
		}
	}
	rest := raw.String()
	for rest != "" {
		n := len(allowed.FindString(rest))
		if rest = rest[n:]; n == 0 {
			t.Fatalf("the console wrote %q", rest[:min(len(rest), 60)])
		}
	}
	if m := outer.Modes(); m != (vt.Modes{}) {
		t.Errorf("the terminal is left with %+v", m)
	}
	if got := outer.Title().String(); strings.Contains(got, "evil") {
		t.Errorf("the title is %q", got)
	}
}
