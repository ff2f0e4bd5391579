package sessions

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Door passes what is typed to a terminal, and leaves that when the person types ~ & at
// the beginning of a line. ~ ~ there is one ~, as with OpenSSH.
type Door struct {
	in io.Reader
	t  backend.Detacher // nil: it can't be left

	inside bool // of a line
	tilde  bool // was typed at a line's beginning, and waits

	// Dismiss ends who watches, when the person types ~ w there; nil: nobody can watch.
	Dismiss func()

	leaving bool // what came before has been passed, and the terminal is to be left

	mu   sync.Mutex
	left backend.SessionID
	err  error
}

// NewDoor gives the door of a terminal.
func NewDoor(in io.Reader, t backend.Terminal) *Door {
	d := &Door{in: in}
	d.t, _ = backend.TerminalAs[backend.Detacher](t)
	return d
}

// Read implements io.Reader. It is io.EOF once the terminal was left.
func (d *Door) Read(p []byte) (int, error) {
	if d.t == nil || len(p) < 2 {
		return d.in.Read(p)
	}
	for !d.leaving {
		n, err := d.in.Read(p[:len(p)/2])
		var out []byte
		out, d.leaving = d.pass(append([]byte{}, p[:n]...))
		if err != nil && d.tilde {
			out, d.tilde = append(out, '~'), false
		}
		if n = copy(p, out); n > 0 || err != nil {
			return n, err
		}
	}
	d.leaving = false
	if d.leave() != nil {
		return d.Read(p)
	}
	return 0, io.EOF
}

// leave leaves the terminal. Its end is seen at once by others: they wait for the word
// about it.
func (d *Door) leave() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.err = d.t.Detach()
	return d.err
}

// pass gives what of the typed bytes is for the terminal. It is at most one byte more
// than they are.
func (d *Door) pass(typed []byte) (out []byte, leave bool) {
	for _, b := range typed {
		if d.tilde {
			d.tilde = false
			if b == '&' {
				return out, true
			}
			if b == 'w' && d.Dismiss != nil {
				d.Dismiss()
				continue
			}
			if b != '~' {
				out = append(out, '~')
			}
			d.inside = true
		} else if b == '~' && !d.inside {
			d.tilde = true
			continue
		}
		out = append(out, b)
		d.inside = b != '\r' && b != '\n'
	}
	return out, false
}

// plain ends what a program may have set in the terminal that it was shown on: the other
// screen, keys, pastes, the mouse, a hidden cursor, colours.
const plain = "\x1b[?1049l\x1b[?1l\x1b[?66l\x1b[?2004l\x1b[?1004l\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?25h\x1b[0m"

// Tell says on w how the terminal was left, and reports whether it was. err is how it
// ended; one that goes on elsewhere has its program's modes no more.
func (d *Door) Tell(w io.Writer, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left != "" || errors.Is(err, backend.ErrTaken) {
		io.WriteString(w, plain+"\n")
	}
	switch {
	case d.err != nil:
		fmt.Fprintf(w, "tucdesk: it was not left: %s\n", sanitize.Clean(d.err.Error()))
	case d.left != "":
		fmt.Fprintf(w, "tucdesk: left; it goes on. Come back with: tucdesk attach %s\n", d.left)
	}
	return d.left != ""
}
