package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrUnsupported means a system that the agent can't run sessions on yet.
	ErrUnsupported = errors.New("process: sessions are not yet supported on this system")
	// ErrNoUser means that the host has no such user.
	ErrNoUser = errors.New("process: no such user on this host")
	// ErrNotRoot means that the agent can't become the user.
	ErrNotRoot = errors.New("process: the agent is not root and can't run as another user")
	// ErrNoProgram means that argv[0] is not a program that can run.
	ErrNoProgram = errors.New("process: no such program")
	// ErrNoDir means a working directory that is not there.
	ErrNoDir = errors.New("process: no such working directory")
	// ErrSignal means a signal name that is not one of Signals.
	ErrSignal = errors.New("process: unknown signal")
)

// A Size is that of a terminal, in cells.
type Size struct{ Cols, Rows uint16 }

// A TTY asks for a terminal.
type TTY struct {
	Size
	Term string // the value of TERM
}

// A Spec says what to run.
type Spec struct {
	Argv  []string    // empty: the user's login shell
	Dir   string      // absolute; empty: the user's home, or / where it has none
	Env   [][2]string // name and value, after and over the clean environment
	TTY   *TTY        // nil: pipes
	Stdin bool        // with pipes: whether there is an input; else it is /dev/null
	// Program is what runs, opened already, whatever file argv[0] names by then; Files
	// are further open files that the program gets. See FileArg. Linux only.
	Program *os.File
	Files   []*os.File
	// Starter starts what is ready to be started, in place of exec.Cmd.Start: the
	// exec gate does. nil: as it is.
	Starter func(*exec.Cmd) error
}

// An Exit is how a program ended.
type Exit struct {
	Code   int    // exit code; 128 + number after a signal
	Signal string // name without SIG, or empty
}

// A User is somebody a program can run as.
type User struct {
	Name   string
	home   string
	shell  string
	uid    uint32
	gid    uint32
	groups []uint32
	self   bool // the agent's own user: nothing to change
}

// AtHome is u with the home that this process's own HOME names, if u is its user: a
// demo's programs are at home where the demo is.
func (u User) AtHome() User {
	if home := os.Getenv("HOME"); u.self && filepath.IsAbs(home) {
		u.home = home
	}
	return u
}

// Shell is the user's login shell.
func (u User) Shell() string { return u.shell }

// Own gives a file to the user.
func (u User) Own(path string) error {
	if u.self {
		return nil
	}
	return os.Chown(path, int(u.uid), int(u.gid))
}

// A Process is a running program. Its methods are safe for concurrent use;
// each stream is for one reader or writer.
type Process struct {
	Stdin  io.WriteCloser // nil without input; with a TTY the terminal
	Stdout io.Reader      // ends after the program, or what it left, has closed it
	Stderr io.Reader      // nil with a TTY

	impl
}

// Path is where programs are looked up.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// FileArg is the path by which a program finds Spec.Files[i], which were opened for it.
func FileArg(i int) string { return "/proc/self/fd/" + strconv.Itoa(firstFile+1+i) }

// firstFile is the descriptor of Spec.Program in what is started; those of Spec.Files
// follow.
const firstFile = 3

// drain is how long output is still read after the program has ended, when
// something it started holds the stream open.
const drain = 2 * time.Second

// environ gives the clean environment of u, and Spec.Env over it.
func environ(u User, shell string, s Spec, own []string) []string {
	env := [][2]string{
		{"PATH", Path}, {"HOME", u.home}, {"USER", u.Name}, {"LOGNAME", u.Name}, {"SHELL", shell},
	}
	for _, kv := range own {
		name, value, _ := strings.Cut(kv, "=")
		if name == "LANG" || strings.HasPrefix(name, "LC_") {
			env = append(env, [2]string{name, value})
		}
	}
	if s.TTY != nil && s.TTY.Term != "" {
		env = append(env, [2]string{"TERM", s.TTY.Term})
	}
	env = append(env, s.Env...)
	out := make([]string, 0, len(env))
	at := make(map[string]int, len(env))
	for _, kv := range env {
		text := kv[0] + "=" + kv[1]
		if i, ok := at[kv[0]]; ok {
			out[i] = text
			continue
		}
		at[kv[0]] = len(out)
		out = append(out, text)
	}
	return out
}

// loginArgv gives argv of a login shell: its name after a dash.
func loginArgv(shell string) []string {
	return []string{"-" + shell[strings.LastIndexByte(shell, '/')+1:]}
}

func noProgram(name, why string) error {
	return fmt.Errorf("%w: %q %s", ErrNoProgram, name, why)
}
