package line

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/process"
)

// ErrShell means a login shell that can't tell its lines.
var ErrShell = errors.New("line: its login shell can't tell its lines: bash 4.4 or later and zsh can")

const (
	// maxTold bounds one message of a shell, in bytes; a longer line is not told.
	maxTold = 16 << 10
	// askTime is how long a shell may take to say its version.
	askTime = 10 * time.Second
)

// Variables by which a shell tells its lines. A message is three texts, each ended by a
// zero byte: what it is about ("prompt", "line"), the folder, and the line; bash's line
// has its number in the history before it. The pipe is opened for both ways, so that
// the shell never waits for a reader.
const (
	tellPipe  = "TUCDESK_LINES"
	tellBash  = "TUCDESK_TELL"
	bashTells = `builtin printf '%s\0%s\0%s\0' "$TUCDESK_ABOUT" "$PWD" "$(HISTTIMEFORMAT= builtin history 1)" 2>/dev/null 1<>"$TUCDESK_LINES"`
	// bash reads these from its environment: what it does before a prompt, and what
	// it shows before a line runs.
	bashPrompt = `TUCDESK_ABOUT=prompt eval "$TUCDESK_TELL"`
	bashLine   = `$(TUCDESK_ABOUT=line; eval "$TUCDESK_TELL")`
	// zsh begins with the .zshenv of ZDOTDIR: this one gives that back.
	zshTells = `ZDOTDIR=$HOME
[[ -r $ZDOTDIR/.zshenv ]] && source $ZDOTDIR/.zshenv
_tucdesk_tell() { builtin printf 'line\0%s\0%s\0' "$PWD" "${1:-$3}" 2>/dev/null 1<>"$TUCDESK_LINES" }
preexec_functions+=(_tucdesk_tell)
`
)

// A Teller is one shell that tells its lines.
type Teller struct {
	// Env are the variables that the shell must be started with.
	Env [][2]string

	dir  string
	pipe *os.File
	r    *bufio.Reader
	// numbers: lines come with their number in bash's history; known is the last one.
	numbers bool
	known   string
}

// CanTell reports whether a user's login shell can: its error wraps ErrShell.
func CanTell(u process.User) error {
	switch filepath.Base(u.Shell()) {
	case "zsh":
		return nil
	case "bash":
		const script = `[ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -ge 44 ]` // PS0
		p, err := process.Start(process.Spec{Argv: []string{u.Shell(), "-c", script}}, u)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrShell, err)
		}
		defer p.Close()
		late := time.AfterFunc(askTime, func() { p.Kill(0) })
		defer late.Stop()
		if p.Exit().Code == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w; it is %s", ErrShell, u.Shell())
}

// NewTeller makes what a user's login shell needs to tell its lines.
func NewTeller(u process.User) (*Teller, error) { return newTeller(u.Shell(), u.Own) }

func newTeller(shell string, own func(path string) error) (_ *Teller, err error) {
	dir, err := os.MkdirTemp("", "tucdesk-lines-")
	if err != nil {
		return nil, fmt.Errorf("line: %w", err)
	}
	t := reading(nil)
	t.dir = dir
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	name := filepath.Join(dir, "lines")
	if err := errors.Join(os.Chmod(dir, 0o755), makePipe(name), own(name)); err != nil {
		return nil, fmt.Errorf("line: %w", err)
	}
	if t.pipe, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("line: %w", err)
	}
	t.r.Reset(t.pipe)
	t.Env = [][2]string{{tellPipe, name}}
	if filepath.Base(shell) == "zsh" {
		t.Env = append(t.Env, [2]string{"ZDOTDIR", dir})
		err = os.WriteFile(filepath.Join(dir, ".zshenv"), []byte(zshTells), 0o644)
		return t, err
	}
	t.numbers = true
	t.Env = append(t.Env, [2]string{tellBash, bashTells}, [2]string{"PROMPT_COMMAND", bashPrompt}, [2]string{"PS0", bashLine})
	return t, nil
}

// reading is a Teller that takes messages from r.
func reading(r io.Reader) *Teller { return &Teller{r: bufio.NewReaderSize(r, maxTold)} }

// Next waits for the next line. Its error means that there is no more.
func (t *Teller) Next() (Line, error) {
	for {
		var words [3]string
		long := false
		for i := range words {
			word, cut, err := t.word()
			if err != nil {
				return Line{}, err
			}
			words[i], long = word, long || cut
		}
		if long || !filepath.IsAbs(words[1]) {
			continue
		}
		if l, ok := t.take(words[0], words[1], words[2]); ok {
			return l, nil
		}
	}
}

// word reads one text; cut is true for one that is too long.
func (t *Teller) word() (word string, cut bool, err error) {
	for {
		b, err := t.r.ReadSlice(0)
		if errors.Is(err, bufio.ErrBufferFull) {
			cut = true
			continue
		}
		if err != nil {
			return "", false, err
		}
		return string(bytes.TrimSuffix(b, []byte{0})), cut, nil
	}
}

// take reads a message. A line of bash is one whose number was not there at its prompt:
// what bash leaves out of its history, it does not tell.
func (t *Teller) take(about, cwd, text string) (Line, bool) {
	text = strings.TrimLeft(text, " ")
	if t.numbers {
		number, rest, _ := strings.Cut(text, " ")
		again := number == t.known
		t.known, text = number, rest
		if again || about != "line" {
			return Line{}, false
		}
	}
	argv := argvOf(text)
	return Line{argv, cwd}, about == "line" && len(argv) > 0
}

// Close ends Next, and takes away what was made.
func (t *Teller) Close() {
	if t.pipe != nil {
		_ = t.pipe.Close()
	}
	_ = os.RemoveAll(t.dir)
}
