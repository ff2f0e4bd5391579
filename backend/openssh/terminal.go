package openssh

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// reachFor bounds, in seconds, one try to connect where the configuration does not.
const reachFor = 30

// command gives the ssh command of a request, with the program first. log
// is the file for what ssh says of itself; endless: the configuration sets no time to
// connect in.
func (b *Backend) command(req backend.OpenRequest, log string, endless bool) ([]string, error) {
	switch {
	case req.Kind == backend.KindShell && len(req.Argv) == 0:
	case req.Kind == backend.KindExec && len(req.Argv) > 0:
	default:
		return nil, fmt.Errorf("a %.20q request can't have %d arguments", string(req.Kind), len(req.Argv))
	}
	if err := req.Extra(); err != nil {
		return nil, err
	}
	argv := slices.Concat([]string{b.ssh, "-E", log}, b.args, []string{
		"-o", "BatchMode=yes", // nothing asks where nobody would see it
		"-o", "ClearAllForwardings=yes", // a terminal, and no ports
		"-o", "LogLevel=DEBUG1", // for said, which reads it
		"-e", "none", // what is typed or pasted is for the target, never for ssh
	})
	if endless {
		argv = append(argv, "-o", fmt.Sprintf("ConnectTimeout=%d", reachFor))
	}
	if tty(req) {
		argv = append(argv, "-tt")
	} else {
		argv = append(argv, "-T")
	}
	if req.As != "" {
		if !validName(req.As) {
			return nil, fmt.Errorf("%+.40q can't be a user here: only letters, digits and ._-+: are allowed", req.As)
		}
		argv = append(argv, "-l", req.As)
	}
	if req.Kind == backend.KindExec {
		argv = append(argv, "-o", "RemoteCommand=none")
	}
	argv = append(argv, "--", string(req.Target))
	if req.Kind == backend.KindExec {
		words := make([]string, len(req.Argv))
		for i, word := range req.Argv {
			if strings.ContainsRune(word, 0) {
				return nil, fmt.Errorf("argument %d has a NUL byte", i)
			}
			words[i] = quote(word)
		}
		argv = append(argv, strings.Join(words, " "))
	}
	return argv, nil
}

func tty(req backend.OpenRequest) bool { return req.Kind == backend.KindShell || req.TTY }

// quote makes a word of word for the login shell that sshd hands every command to.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// terminal is an ssh process. It is no Signaler: the ssh program has no way to pass a
// signal on, and to end ssh instead would leave the remote program running.
type terminal struct {
	backend.Terminal // of package local, with its own Signal and Assurance hidden
	said             *said
	tty              bool
	told             bool   // the reader has had, or has in last, why the program's end isn't known
	last             []byte // to be read after the program's output
	ended            chan struct{}
	exit             backend.Exit // set before ended is closed
	err              error
}

var (
	_ backend.StderrTerminal = (*terminal)(nil)
	_ backend.HalfCloser     = (*terminal)(nil)
)

// judge waits until ssh has ended, and says how the program did.
func (t *terminal) judge() {
	defer close(t.ended)
	defer t.said.remove()
	t.exit, t.err = t.Terminal.Wait()
	if t.err == nil {
		t.exit, t.err = t.said.judge(t.exit)
	}
}

// Read implements backend.Terminal. On a PTY, why there is no session comes last, where
// ssh by itself would have written it: all of it, which a status line has no room for.
func (t *terminal) Read(p []byte) (int, error) {
	if !t.told {
		n, err := t.Terminal.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) || !t.tty {
			return n, err
		}
		<-t.ended // soon: only ssh had the PTY, and Close kills it
		t.told = true
		if t.err != nil {
			t.last = []byte("\r\n" + t.err.Error() + "\r\n")
		}
	}
	if len(t.last) == 0 {
		return 0, io.EOF
	}
	n := copy(p, t.last)
	t.last = t.last[n:]
	return n, nil
}

// Wait implements backend.Terminal.
func (t *terminal) Wait() (backend.Exit, error) {
	<-t.ended
	return t.exit, t.err
}

// Assurance implements backend.Terminal. The package's documentation says why it
// promises nothing.
func (t *terminal) Assurance() backend.Assurance { return backend.Assurance{} }

// Stderr implements backend.StderrTerminal. What ssh says of itself is not in it.
func (t *terminal) Stderr() io.Reader {
	if c, ok := t.Terminal.(backend.StderrTerminal); ok {
		return c.Stderr()
	}
	return nil
}

// CloseWrite implements backend.HalfCloser.
func (t *terminal) CloseWrite() error {
	if c, ok := t.Terminal.(backend.HalfCloser); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// maxSaid is how much is read of what ssh says of itself, from its end.
const maxSaid = 64 << 10

// said is the log of one ssh process. Its exit code alone does not tell a program that
// ends with 255 from a connection that never was.
type said struct {
	file, host string
	try        string // the same connection, as typed in a shell
}

func newSaid(dir, host, try string) (*said, error) {
	f, err := os.CreateTemp(dir, "tucdesk-ssh-") // mode 0600
	if err != nil {
		return nil, err
	}
	return &said{f.Name(), host, try}, f.Close()
}

func (s *said) remove() { _ = os.Remove(s.file) }

// judge answers how the remote program ended, given how ssh did.
func (s *said) judge(exit backend.Exit) (backend.Exit, error) {
	switch {
	case exit.Reason != "": // it was closed here
		return exit, nil
	case exit.Signal != "":
		return exit, fmt.Errorf("openssh: %s: ssh was ended by signal %s", s.host, exit.Signal)
	case exit.Code != 255:
		return exit, nil
	}
	text, err := s.text()
	if err != nil {
		return exit, fmt.Errorf("openssh: %w", err)
	}
	var errs []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "debug1: Exit status 255":
			return exit, nil
		case strings.Contains(line, "rtype exit-signal"):
			return exit, fmt.Errorf("openssh: %s: the program was ended by a signal; ssh does not say by which", s.host)
		case line == "", strings.HasPrefix(line, "debug"), strings.HasPrefix(line, "Authenticated to "),
			strings.HasPrefix(line, "Transferred: "), strings.HasPrefix(line, "Bytes per second: "), strings.HasPrefix(line, "OpenSSH_"):
		default:
			errs = append(errs, line)
		}
	}
	why := "the connection was lost, and with it how the program ended"
	if n := len(errs); n > 0 {
		why = clean(strings.Join(errs[max(0, n-2):], " "))
		why = strings.TrimSuffix(why, ".")
	}
	return exit, fmt.Errorf("openssh: %s: %s: %s", s.host, why, advice(why, s.try))
}

func (s *said) text() (string, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxSaid {
		if _, err := f.Seek(-maxSaid, io.SeekEnd); err != nil {
			return "", err
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSaid))
	return string(text), err
}

// advice says what to do about what ssh said.
func advice(why, try string) string {
	switch {
	case strings.Contains(why, "IDENTIFICATION HAS CHANGED"), strings.Contains(why, "has changed and you have requested strict checking"):
		return "somebody may be listening: ask who runs the machine before you change known_hosts"
	case strings.Contains(why, "Host key verification failed"):
		return "nothing asks about host keys here: run `" + try + "` once in a shell, compare the key, and open it again"
	case strings.Contains(why, "Permission denied"):
		return "nothing asks for passwords here: add a key to your agent with ssh-add, or try `" + try + "` in a shell"
	}
	return "try `" + try + "` in a shell"
}

// maxLine is how many bytes are quoted of what ssh or a server said.
const maxLine = 500

// clean makes one line of it that a screen can show.
func clean(s string) string {
	return sanitize.Clean(strings.TrimSpace(s[:min(len(s), maxLine)])).String()
}
