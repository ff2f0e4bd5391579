package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// greeting is what a Shell says first.
const greeting = "tucdesk: gate level line: each line is decided, and runs by itself, without a terminal and without input.\n" +
	"tucdesk: only the folder (cd) goes on to the next line. Ctrl-C ends what runs or waits, Ctrl-D leaves.\n"

const (
	// cdTime bounds a change of folder, which may lead to a server that is gone, and
	// maxFolder its name, in bytes.
	cdTime    = 10 * time.Second
	maxFolder = 4 << 10
	// killGrace is what a program gets after it was asked to end.
	killGrace = 2 * time.Second
)

// A Line is what somebody has typed, as it runs.
type Line struct {
	Argv []string // at least one word
	Cwd  string   // absolute
}

// argvOf gives what a line runs as: a plain command as its argument list, everything
// else by sh. nil: there is nothing in it.
func argvOf(text string) []string {
	text = strings.TrimSpace(text)
	argv := command.Split(text)
	for _, word := range argv {
		if strings.HasPrefix(word, "~") { // Split leaves homes as they are
			return []string{"sh", "-c", text}
		}
	}
	return argv
}

// A Config says whose shell it is, and who decides. Allow waits for the decision; nil
// lets exactly this run. Its error is shown, cleaned. ctx ends when nobody waits for it.
type Config struct {
	User  process.User
	TTY   process.TTY
	Dir   string      // where it begins, absolute; "": the user's home
	Env   [][2]string // over the user's clean environment
	Allow func(ctx context.Context, l Line) error
}

// A Shell serves one person. Its methods are safe for concurrent use.
type Shell struct {
	Stdin  io.WriteCloser // what is typed: it never blocks
	Stdout io.Reader      // what is shown

	c      Config
	term   *term.Terminal
	keys   *keys
	out    *io.PipeWriter
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	exit   process.Exit
	dir    string

	mu       sync.Mutex
	size     process.Size
	resizing bool
}

// Start begins a shell. Somebody must read what it shows.
func Start(c Config) *Shell {
	s := &Shell{c: c, keys: newKeys(), done: make(chan struct{}), dir: c.Dir}
	s.Stdin = s.keys
	s.Stdout, s.out = io.Pipe()
	s.term = term.NewTerminal(screen{s.keys, s.out}, "")
	s.ctx, s.cancel = context.WithCancel(context.Background())
	_ = s.Resize(c.TTY.Size)
	go s.serve()
	return s
}

// screen is a person's terminal.
type screen struct {
	io.Reader
	out *io.PipeWriter
}

func (t screen) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // a pipe would wait with it
	}
	return t.out.Write(b)
}

// serve reads lines to the end.
func (s *Shell) serve() {
	defer close(s.done)
	defer s.out.Close()
	defer s.keys.Close()
	if s.dir == "" {
		if dir, err := s.enter("", true); err == nil {
			s.dir = dir
		} else {
			s.dir = "/"
		}
	}
	s.say(greeting)
	for {
		s.term.SetPrompt(s.prompt())
		text, err := s.term.ReadLine()
		if s.ctx.Err() != nil {
			s.exit = process.Exit{Code: 129, Signal: "HUP"}
			return
		}
		if err != nil {
			return
		}
		argv := argvOf(text)
		switch {
		case len(argv) == 0:
		case argv[0] == "exit" || argv[0] == "logout":
			if len(argv) > 1 {
				s.exit.Code = exitCode(argv[1])
			}
			return
		default:
			s.exit.Code = s.line(strings.TrimSpace(text), argv)
		}
	}
}

func exitCode(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		return 2
	}
	return n & 0xff
}

// prompt shows the folder, and how the last line ended where that was not well.
func (s *Shell) prompt() string {
	p := sanitize.Clean(s.dir).String() + " line> "
	if s.exit.Code != 0 {
		p = fmt.Sprintf("[%d] %s", s.exit.Code, p)
	}
	return p
}

// line runs one line, and gives its exit code.
func (s *Shell) line(text string, argv []string) int {
	if dir, home, ok := folder(text, argv); ok {
		to, err := s.enter(dir, home)
		if err != nil {
			return s.fail(1, "%v", err)
		}
		s.dir = to
		return 0
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.keys.during(func(bool) { cancel() })
	defer s.keys.during(nil)
	err := s.c.Allow(ctx, Line{argv, s.dir})
	switch {
	case ctx.Err() != nil:
		return s.fail(130, "taken back")
	case err != nil:
		return s.fail(126, "not run: %v", err)
	}
	return s.run(ctx, argv)
}

// run runs what was allowed. ctx ends if it is not wanted any more.
func (s *Shell) run(ctx context.Context, argv []string) int {
	spec := process.Spec{Argv: argv, Dir: s.dir, Env: s.c.Env}
	if s.c.TTY.Term != "" {
		// Programs that only ask TERM for colours may have them.
		spec.Env = append([][2]string{{"TERM", s.c.TTY.Term}}, spec.Env...)
	}
	p, err := process.Start(spec, s.c.User)
	switch {
	case errors.Is(err, process.ErrNoProgram):
		return s.fail(127, "%v; what only a shell can do, such as export or alias, would mean nothing to the next line", err)
	case err != nil:
		return s.fail(126, "it can't be run: %v", err)
	}
	defer p.Close()
	s.keys.during(func(kill bool) {
		if kill {
			p.Kill(0)
			return
		}
		_ = p.Signal("INT")
	})
	if ctx.Err() != nil { // between the decision and the start
		p.Kill(killGrace)
	}
	stop := context.AfterFunc(s.ctx, func() { p.Kill(killGrace) })
	defer stop()
	var streams sync.WaitGroup
	for _, r := range []io.Reader{p.Stdout, p.Stderr} {
		streams.Go(func() {
			if _, err := io.Copy(s.term, r); err != nil {
				p.Kill(killGrace) // nobody reads
				_, _ = io.Copy(io.Discard, r)
			}
		})
	}
	<-p.Done()
	streams.Wait()
	return p.Exit().Code
}

// folder gives where a line goes that only changes the folder, from the home if home.
// One with anything to expand in it, but for a home at its begin, is none.
func folder(text string, argv []string) (dir string, home, ok bool) {
	rest, fromHome := strings.CutPrefix(text, "cd ~")
	switch {
	case fromHome && (rest == "" || rest[0] == '/'):
		words := command.Split("cd ." + rest)
		if len(words) != 2 || words[0] != "cd" {
			return "", false, false
		}
		return words[1], true, true
	case argv[0] != "cd":
		return "", false, false
	case len(argv) == 1:
		return "", true, true
	}
	return argv[1], false, len(argv) == 2 && argv[1] != "" && argv[1][0] != '-'
}

// enter gives the folder that a name leads to, if the user may go there: it is the user
// who looks.
func (s *Shell) enter(dir string, home bool) (string, error) {
	const script = `[ -z "$2" ] || cd -- "$HOME" || exit; [ -z "$1" ] || cd -- "$1" || exit; pwd -P`
	from := ""
	if home {
		from = "home"
	}
	p, err := process.Start(process.Spec{Argv: []string{"/bin/sh", "-c", script, "cd", dir, from}, Dir: s.dir}, s.c.User)
	if err != nil {
		return "", fmt.Errorf("the folder can't be changed: %w", err)
	}
	defer p.Close()
	s.keys.during(func(bool) { p.Kill(0) })
	defer s.keys.during(nil)
	late := time.AfterFunc(cdTime, func() { p.Kill(0) })
	defer late.Stop()
	go func() { _, _ = io.Copy(io.Discard, p.Stderr) }()
	b, err := io.ReadAll(io.LimitReader(p.Stdout, maxFolder))
	to, whole := strings.CutSuffix(string(b), "\n")
	if <-p.Done(); err != nil || !whole || p.Exit().Code != 0 {
		return "", fmt.Errorf("there is no folder %q, or %s may not enter it", dir, s.c.User.Name)
	}
	return to, nil
}

func (s *Shell) say(text string) { _, _ = s.term.Write([]byte(text)) }

// fail says why a line did not run, and gives the exit code for that.
func (s *Shell) fail(code int, format string, args ...any) int {
	s.say("tucdesk: " + sanitize.Clean(fmt.Sprintf(format, args...)).String() + "\n")
	return code
}

// Done is closed when the shell has ended. What it has shown may still be read.
func (s *Shell) Done() <-chan struct{} { return s.done }

// Exit waits for the end: its code is that of the last line, or of exit.
func (s *Shell) Exit() process.Exit {
	<-s.done
	return s.exit
}

// Resize sets the screen's size. It does not wait for whoever reads.
func (s *Shell) Resize(size process.Size) error {
	if size.Cols == 0 || size.Rows == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = size
	if s.resizing {
		return nil
	}
	s.resizing = true
	go func() {
		for {
			s.mu.Lock()
			now := s.size
			s.mu.Unlock()
			_ = s.term.SetSize(int(now.Cols), int(now.Rows))
			s.mu.Lock()
			again := s.size != now
			s.resizing = again
			s.mu.Unlock()
			if !again {
				return
			}
		}
	}()
	return nil
}

// Signal passes INT and QUIT on to what runs, as their keys do; what else asks for an
// end ends the shell.
func (s *Shell) Signal(name string) error {
	switch name {
	case "INT":
		_, _ = s.keys.Write([]byte{keyInterrupt})
	case "QUIT":
		_, _ = s.keys.Write([]byte{keyQuit})
	case "HUP", "TERM", "KILL":
		s.Kill(killGrace)
	}
	return nil
}

// Kill ends the shell and what runs in it, which gets some time of its own. It does not
// wait.
func (s *Shell) Kill(time.Duration) {
	s.cancel()
	s.keys.Close()
}

// CloseInput leaves the shell when all lines that were typed have run.
func (s *Shell) CloseInput() { s.keys.Close() }

// Close ends the shell, and waits for it.
func (s *Shell) Close() {
	s.Kill(0)
	s.out.CloseWithError(io.ErrClosedPipe)
	<-s.done
}
