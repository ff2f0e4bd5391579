package line

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// person types into a shell and looks at its screen.
type person struct {
	t     *testing.T
	shell *Shell
	mu    sync.Mutex
	seen  strings.Builder
	asked chan Line
	say   chan error // the decision about a line that begins with "held"
}

func sit(t *testing.T) *person {
	t.Helper()
	me, err := process.Self()
	if err != nil {
		skiptest.Missing(t, "%v", err)
	}
	p := &person{t: t, asked: make(chan Line, 100), say: make(chan error)}
	p.shell = Start(Config{
		User: me, TTY: process.TTY{Size: process.Size{Cols: 200, Rows: 50}, Term: "dumb"}, Dir: t.TempDir(), Env: [][2]string{{"COLOUR", "blue"}},
		Allow: func(ctx context.Context, l Line) error {
			p.asked <- l
			switch filepath.Base(l.Argv[len(l.Argv)-1]) {
			case "denied":
				return errors.New("policy says no\x1b[2J")
			case "held":
				select {
				case err := <-p.say:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		},
	})
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := p.shell.Stdout.Read(b)
			p.mu.Lock()
			p.seen.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(p.shell.Close)
	return p
}

func (p *person) types(text string) {
	p.t.Helper()
	if _, err := p.shell.Stdin.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits for a text after the ones before, and gives what came up to it.
func (p *person) sees(text string) string {
	p.t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		p.mu.Lock()
		before, after, ok := strings.Cut(p.seen.String(), text)
		if ok {
			p.seen.Reset()
			p.seen.WriteString(after)
			p.mu.Unlock()
			return before
		}
		p.mu.Unlock()
		if time.Now().After(until) {
			p.t.Fatalf("%q did not come; there is %q", text, p.seen.String())
		}
	}
}

func (p *person) was(want string) {
	p.t.Helper()
	if l := <-p.asked; fmt.Sprintf("%q", l.Argv) != want {
		p.t.Errorf("asked about %q, want %s", l.Argv, want)
	}
}

// Each line is asked about as what it runs as, and runs with nothing but its folder and
// the variables of the session.
func TestShell(t *testing.T) {
	p := sit(t)
	p.sees("line> ")
	for _, tc := range []struct{ line, asked, shows string }{
		{"echo a 'b  c'", `["echo" "a" "b  c"]`, "\na b  c\r\n"},
		{"echo $COLOUR | tr a-z A-Z", `["sh" "-c" "echo $COLOUR | tr a-z A-Z"]`, "\nBLUE\r\n"},
		{"cat", `["cat"]`, "\n"}, // it has no input
		{"tty", `["tty"]`, "\nnot a tty\r\n"},
		{"sh -c 'echo x >/dev/tty' 2>/dev/null || echo none", `["sh" "-c" "sh -c 'echo x >/dev/tty' 2>/dev/null || echo none"]`, "\nnone\r\n"},
		{"ls ~", `["sh" "-c" "ls ~"]`, "\n"},
		{"printf 'é\\n'", `["printf" "é\\n"]`, "\né\r\n"},
		{"/nowhere/denied", `["/nowhere/denied"]`, "tucdesk: not run: policy says no⟨ESC⟩[2J\r\n"},
		{"export X=1", `["sh" "-c" "export X=1"]`, "\n"},
		{"sh -c 'exit 7'", `["sh" "-c" "exit 7"]`, "\r\n[7] "},
		{"nosuchprogram", `["nosuchprogram"]`, "no such program"},
		{"( sleep 300 & ) ; echo on", `["sh" "-c" "( sleep 300 & ) ; echo on"]`, "\non\r\n"},
	} {
		p.types(tc.line + "\r")
		p.was(tc.asked)
		p.sees(tc.shows)
		p.sees("line> ")
	}
	if len(p.asked) > 0 {
		t.Errorf("asked about %q", <-p.asked)
	}
}

// The folder goes on; a name that leads nowhere, or has something to expand in it, does
// not change it.
func TestFolder(t *testing.T) {
	p := sit(t)
	first := p.shell.c.Dir
	if err := os.Mkdir(filepath.Join(first, "it's here"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ line, prompt string }{
		{`cd "it's here"`, "/it's here line> "},
		{"cd ..", filepath.Base(first) + " line> "},
		{"cd /usr/../usr/bin", "usr/bin line> "},
		{"cd nowhere", `there is no folder "nowhere"`},
		{"cd", " line> "},
		{"cd /", "\r\n/ line> "},
		{"cd ~/", " line> "},
	} {
		p.types(tc.line + "\n")
		p.sees(tc.prompt)
	}
	if len(p.asked) > 0 {
		t.Errorf("asked about %q", <-p.asked)
	}
	for _, line := range []string{"cd $HOME", "cd ~/$(id)", "cd a b", "cd -P x", "cd / && id", "cd ~x"} {
		if dir, _, ok := folder(line, argvOf(line)); ok {
			t.Errorf("%q leads to %q", line, dir)
		}
	}
}

// Ctrl-C clears a line, takes back what waits, and ends what runs, with what was typed
// ahead; nothing else of what is typed reaches what runs.
func TestInterrupt(t *testing.T) {
	p := sit(t)
	p.sees("line> ")
	p.types("echo never\x03echo once\r")
	p.was(`["echo" "once"]`)
	p.sees("\nonce\r\n")

	p.types("touch held\r")
	p.was(`["touch" "held"]`)
	p.types("echo ahead\r\x03")
	p.sees("taken back")
	p.types("ls\r")
	p.was(`["ls"]`)
	p.sees("line> ")

	p.types("touch held\r")
	p.was(`["touch" "held"]`)
	p.say <- nil
	p.sees("line> ")
	p.types("ls\r")
	p.was(`["ls"]`)
	p.sees("\nheld\r\n")

	p.types("sh -c 'echo begun; exec sleep 300'\r")
	p.was(`["sh" "-c" "echo begun; exec sleep 300"]`)
	p.sees("\nbegun")
	p.types("y\r\x03")
	p.sees("[130]")
	p.types("sh -c 'trap : INT; echo begun; while :; do sleep 1; done'\r")
	<-p.asked
	p.sees("\nbegun")
	p.types("\x03\x1c")
	p.sees("[137]")
	if len(p.asked) > 0 {
		t.Errorf("asked about %q", <-p.asked)
	}
}

// A shell ends with Ctrl-D, exit and its person, and leaves nothing.
func TestEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*person)
		code int
	}{
		"Ctrl-D":    {func(p *person) { p.types("\x04") }, 0},
		"exit":      {func(p *person) { p.types("sh -c 'exit 3'\rexit\r") }, 3},
		"exit 5":    {func(p *person) { p.types("exit 5\r") }, 5},
		"no input":  {func(p *person) { p.types("sh -c 'exit 4'\r"); p.shell.CloseInput() }, 4},
		"a signal":  {func(p *person) { p.shell.Signal("HUP") }, 129},
		"kill":      {func(p *person) { p.types("sleep 300\r"); <-p.asked; p.shell.Kill(0) }, 129},
		"what held": {func(p *person) { p.types("held\r"); <-p.asked; p.shell.Kill(0) }, 129},
	} {
		p := sit(t)
		p.sees("line> ")
		tc.end(p)
		select {
		case <-p.shell.Done():
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it did not end", name)
		}
		if x := p.shell.Exit(); x.Code != tc.code {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

// What is typed and read by nobody, or longer than a line may be, has a bound.
func TestBounds(t *testing.T) {
	p := sit(t)
	p.sees("line> ")
	p.types("held\r")
	<-p.asked
	for range 100 {
		p.types(strings.Repeat("x", 10_000))
	}
	p.shell.keys.mu.Lock()
	if n := len(p.shell.keys.ahead); n > maxAhead {
		t.Errorf("%d bytes wait", n)
	}
	p.shell.keys.mu.Unlock()
	p.shell.Resize(process.Size{Cols: 10, Rows: 2})
	p.shell.Resize(process.Size{})
}
