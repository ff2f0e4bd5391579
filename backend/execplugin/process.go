package execplugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
)

const (
	// prefix begins the name of every plugin's program.
	prefix = "tucdesk-backend-"
	// argument is the one that a plugin is started with.
	argument = "--tucdesk-backend"
	// endFor is how long a plugin has to end after its input was closed.
	endFor = 3 * time.Second
	// lastWords is how long a plugin that has ended is still read.
	lastWords = time.Second
	// maxSaid bounds what is kept of standard error, and maxLogged how many lines of it
	// are logged.
	maxSaid   = 4
	maxLogged = 200
	// maxPlugins bounds what Find finds.
	maxPlugins = 200
)

// ErrNoPlugin means that no program of the name is on PATH.
var ErrNoPlugin = errors.New("execplugin: no such plugin")

// A Plugin is a program that can be started.
type Plugin struct {
	Name string // the scheme of its URLs
	Path string // absolute
}

// Look finds the plugin of a name on PATH, or by the path of its program, which has a
// separator in it.
func Look(name string) (Plugin, error) {
	program := name
	if !strings.ContainsAny(name, `/\`) {
		program = prefix + name
	}
	at, err := exec.LookPath(program)
	if err != nil {
		return Plugin{}, fmt.Errorf("%w: %w; put an executable %s on PATH, or name its file: ./%s", ErrNoPlugin, err, prefix+"NAME", prefix+"NAME")
	}
	if at, err = filepath.Abs(at); err != nil {
		return Plugin{}, fmt.Errorf("execplugin: %w", err)
	}
	if name = nameOf(at); name == "" {
		return Plugin{}, fmt.Errorf("%w: the file of a plugin is called %sNAME, with a NAME of lower case letters, digits, plus, minus and dot; %s is not", ErrNoPlugin, prefix, protocol.Clean(at))
	}
	return Plugin{name, at}, nil
}

// nameOf is the name of the plugin that a file is; empty where it is none.
func nameOf(file string) string {
	base := filepath.Base(file)
	if runtime.GOOS == "windows" {
		base = strings.TrimSuffix(strings.ToLower(base), ".exe")
	}
	name, ok := strings.CutPrefix(base, prefix)
	if !ok || new(backend.Registry).Register(backend.Driver{Scheme: name, Open: openNothing}) != nil {
		return ""
	}
	return name
}

func openNothing(context.Context, *url.URL, backend.Env) (backend.Backend, error) {
	return nil, ErrNoPlugin
}

// Find lists the plugins on PATH, by name. Of two with one name the first counts, as in
// a shell. Folders that are not absolute are left out.
func Find() []Plugin {
	var found []Plugin
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		names, err := filepath.Glob(filepath.Join(escaped(dir), prefix+"*"))
		if err != nil {
			continue
		}
		for _, file := range names {
			p, err := Look(file)
			if err != nil || slices.ContainsFunc(found, func(q Plugin) bool { return q.Name == p.Name }) {
				continue
			}
			if found = append(found, p); len(found) == maxPlugins {
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// escaped has Glob take a folder's name as it is.
func escaped(dir string) string {
	if runtime.GOOS == "windows" {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Driver opens the backend that a plugin is. Nothing is started before Open.
func Driver(p Plugin) backend.Driver {
	return backend.Driver{
		Scheme: p.Name,
		Doc:    "a program of its own: " + p.Path,
		Open: func(ctx context.Context, u *url.URL, env backend.Env) (backend.Backend, error) {
			logger := env.Logger
			if logger == nil {
				logger = slog.New(slog.DiscardHandler)
			}
			program, err := start(p.Path, logger)
			if err != nil {
				return nil, err
			}
			return connect(ctx, p.Path, program, u, env.Dir)
		},
	}
}

// A program is a plugin that runs. It implements peer.
type program struct {
	io.Reader // its standard output
	io.WriteCloser
	cmd  *exec.Cmd
	out  io.Closer
	err  io.Closer
	kill chan struct{} // closed when it is to end at once
	once sync.Once
	done chan struct{} // closed when it has ended, and all that it said was read
	how  string

	mu   sync.Mutex
	said []string
}

// start starts a plugin. Of the environment it gets what is not TucDesk's.
func start(path string, logger *slog.Logger) (*program, error) {
	cmd := exec.Command(path, argument)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TUCDESK_") })
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	stderr, err3 := cmd.StderrPipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("execplugin: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("execplugin: the plugin does not start: %w", err)
	}
	p := &program{Reader: out, WriteCloser: in, cmd: cmd, out: out, err: stderr, kill: make(chan struct{}), done: make(chan struct{})}
	listened := make(chan struct{})
	backend.Go(func() {
		defer close(listened)
		p.listen(stderr, logger.With("plugin", path))
	})
	backend.Go(func() { p.wait(listened) })
	return p, nil
}

// listen takes what the plugin says to people. It reads to the end, so that no plugin
// waits for it.
func (p *program) listen(r io.Reader, logger *slog.Logger) {
	lines := bufio.NewReaderSize(r, protocol.MaxText)
	logged, rest := 0, false
	for {
		b, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		first := !rest
		if rest = more; !first || len(strings.TrimSpace(string(b))) == 0 {
			continue // the rest of a long line says little
		}
		line := protocol.Clean(string(b)).String()
		p.mu.Lock()
		if p.said = append(p.said, line); len(p.said) > maxSaid {
			p.said = slices.Delete(p.said, 0, 1)
		}
		p.mu.Unlock()
		switch logged++; {
		case logged <= maxLogged:
			logger.Warn(line)
		case logged == maxLogged+1:
			logger.Warn("the plugin says more, which is not kept")
		}
	}
}

// wait waits for the process, and ends the reading from it soon after.
func (p *program) wait(listened <-chan struct{}) {
	state := make(chan *os.ProcessState, 1)
	backend.Go(func() {
		s, _ := p.cmd.Process.Wait() // nil is said below
		state <- s
	})
	var s *os.ProcessState
	select {
	case s = <-state:
	case <-p.kill:
		_ = p.cmd.Process.Kill() // it may have ended
		s = <-state
	}
	// What it has started may go on, and have its outputs.
	time.AfterFunc(lastWords, func() { _ = p.out.Close() })
	select {
	case <-listened: // all that it said
	case <-time.After(lastWords):
	}
	_ = p.err.Close()
	<-listened
	p.how = "it can't be told how"
	if s != nil {
		p.how = s.String()
	}
	close(p.done)
}

// end implements peer.
func (p *program) end(wait bool) (how, said string) {
	if wait {
		t := time.NewTimer(endFor)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
	}
	p.once.Do(func() { close(p.kill) })
	<-p.done // what it has said last may still be read; wait closes p.out soon
	_ = p.WriteCloser.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.how, strings.Join(p.said, " / ")
}
