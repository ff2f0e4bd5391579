package shim

import "errors"

// socket is the descriptor at which the shim finds its end of the socket.
const socket = 3

// A launch is what the shim is told: all that exec and a change of user need. Both
// ends are the same program, so encoding/gob is the whole format.
type launch struct {
	Path   string // absolute, or from Dir
	Argv   []string
	Env    []string
	Dir    string
	User   bool // become UID, GID and Groups; else stay who this is
	UID    uint32
	GID    uint32
	Groups []uint32
}

// maxLaunch bounds a launch, in bytes: what the kernel takes for arguments and
// environment, and some.
const maxLaunch = 8 << 20

// What the shim sends with the listener, one byte of flags.
const (
	hasKillable = 1 << iota // a held task sleeps through signals that do not kill
	hasLandlock
)

// ErrShim means that the shim could not do its part. Nothing was started.
var ErrShim = errors.New("shim: the gated program could not be started")

// Features are what this kernel gives beyond what the gate needs.
type Features struct {
	Killable bool // WAIT_KILLABLE_RECV: a held program start is not woken by every signal
	Landlock bool // a domain keeps the session out of processes that are not its own
}
