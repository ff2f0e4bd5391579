package errand

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/tunnel"
)

// Many reports whether a session of a kind may open its channel again and again, for the
// same words.
func Many(kind string) bool { return kind == reach.KindForward }

// Recorded reports whether a session of a kind can be recorded.
func Recorded(kind string) bool {
	return !reach.Carries(kind) || kind == reach.KindCopy
}

// Check says what is wrong with a channel's request, if something is. Whether it may be
// is for policy.
func Check(m channel.OpenMessage) error {
	if m.TTY != nil || m.Cwd != "" || len(m.Env) > 0 {
		return errors.New("copies, forwards and proxies have no terminal, directory or environment")
	}
	var err error
	if m.Kind == reach.KindCopy {
		_, err = reach.ParseCopy(m.Argv)
	} else {
		_, err = reach.ParseArgv(m.Argv)
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "reach: "))
	}
	return nil
}

// A Watch sees what passes between a channel and an errand's process. A nil Watch is
// that of another program, and sees nothing.
type Watch struct {
	kind  string
	from  bool            // of a copy: from this machine
	tally *filecopy.Tally // nil, but of a copy

	in, out  atomic.Int64
	inSSH    tunnel.SSH
	outSSH   tunnel.SSH
	kill     func()
	once     sync.Once
	failed   error // set once
	isFailed atomic.Bool
}

// New gives the Watch of a channel; nil for kinds that are no errands.
func New(m channel.OpenMessage) (*Watch, error) {
	if !reach.Carries(m.Kind) {
		return nil, nil
	}
	if err := Check(m); err != nil {
		return nil, err
	}
	w := &Watch{kind: m.Kind}
	if m.Kind == reach.KindCopy {
		c, err := reach.ParseCopy(m.Argv)
		if err != nil {
			return nil, err
		}
		w.from, w.tally = c.From, filecopy.NewTally(c.Tree, filecopy.Limits{})
	}
	return w, nil
}

// ErrNone: this agent was not told how to start errands.
var ErrNone = errors.New("this agent serves no copies and forwards")

// Spec gives what to run: args are those that lead this program to Main.
func Spec(m channel.OpenMessage, args []string) (process.Spec, error) {
	if len(args) == 0 {
		return process.Spec{}, ErrNone
	}
	self := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			return process.Spec{}, err
		}
	}
	return process.Spec{Argv: slices.Concat([]string{self}, args, []string{m.Kind}, m.Argv), Stdin: true}, nil
}

// killGrace is what an errand gets to take away what is half done.
const killGrace = 2 * time.Second

// Attach puts the watch between a process that has started and whoever uses its streams.
func (w *Watch) Attach(p *process.Process) {
	if w == nil {
		return
	}
	w.kill = func() { p.Kill(killGrace) }
	p.Stdin, p.Stdout = &watchedInput{w, p.Stdin}, &watchedOutput{w, p.Stdout}
}

type watchedInput struct {
	w *Watch
	io.WriteCloser
}

func (i *watchedInput) Write(p []byte) (int, error) {
	if err := i.w.take(p, true); err != nil {
		return 0, err
	}
	return i.WriteCloser.Write(p)
}

type watchedOutput struct {
	w *Watch
	r io.Reader
}

func (o *watchedOutput) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if werr := o.w.take(p[:n], false); werr != nil {
		return 0, io.EOF // nothing of it goes out
	}
	return n, err
}

// take looks at what is about to pass.
func (w *Watch) take(p []byte, inward bool) error {
	if len(p) == 0 {
		return nil
	}
	if w.isFailed.Load() {
		return w.failed
	}
	n, ssh := &w.out, &w.outSSH
	if inward {
		n, ssh = &w.in, &w.inSSH
	}
	n.Add(int64(len(p)))
	switch {
	case w.tally != nil && inward == w.from:
		return w.fail(errors.New("bytes in a direction that this copy has not"))
	case w.tally != nil:
		if _, err := w.tally.Write(p); err != nil {
			return w.fail(err)
		}
	case w.kind == reach.KindForward && ssh.Seen(p):
		return w.fail(errors.New("it speaks SSH, which is not gated and not recorded: that is a proxy, not a forward, and policy must list `proxy` and its destination"))
	}
	return nil
}

// fail ends the errand, for a reason that the operator may read.
func (w *Watch) fail(err error) error {
	w.once.Do(func() {
		w.failed = err
		w.isFailed.Store(true)
		w.kill()
	})
	return err
}

// Halves reports whether the channel's two directions end by themselves.
func (w *Watch) Halves() bool { return w != nil && w.tally == nil }

// Ended says what has passed, once the process has ended: why it was ended by the watch,
// "" if it was not; the rest in words that name nothing; and, of a copy, what the audit
// log keeps sealed.
func (w *Watch) Ended() (why, passed string, report []byte) {
	if w == nil {
		return "", "", nil
	}
	if w.isFailed.Load() {
		why = w.failed.Error()
	}
	if w.tally == nil {
		return why, fmt.Sprintf("%d bytes out, %d bytes in", max(w.in.Load()-1, 0), max(w.out.Load()-1, 0)), nil
	}
	rep, err := w.tally.Report()
	passed = fmt.Sprintf("%d files and directories, %d bytes", rep.Entries, rep.Bytes)
	if err != nil {
		passed += ", not whole"
	}
	report, err = rep.Marshal()
	if err != nil {
		report = nil // bounded texts and numbers always encode
	}
	return why, passed, report
}
