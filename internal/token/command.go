package token

import (
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Bounds of a command. The whole of it must fit, sealed to several people,
// into an audit entry of 16 KiB.
const (
	MaxCommand = 8 << 10 // bytes of its deterministic CBOR
	maxPath    = 4096    // bytes of a working directory
	maxEnv     = 64      // variables
	// MaxBound bounds the files of a command whose content is bound.
	MaxBound = 8
)

// How a command gets its standard input.
const (
	StdinNone   = "none"
	StdinTTY    = "tty"
	StdinStream = "stream"
	// StdinHash and 64 hexadecimal digits: a stream whose SHA-256 is bound.
	StdinHash = "sha256:"
)

// A Command is what shall run. No server ever sees one: servers see its
// commitment, people and agents see it sealed.
type Command struct {
	V     uint64      `cbor:"v"`
	Argv  []string    `cbor:"argv"` // empty: the login shell, interactive
	Cwd   string      `cbor:"cwd"`  // empty: the user's home
	Env   [][2]string `cbor:"env"`  // name and value, in order
	Stdin string      `cbor:"stdin"`
	Bound []Bound     `cbor:"bound,omitempty"`
	// Runbook is the step of a signed runbook that this is; nil: none. It is a claim,
	// which whoever has the roster checks.
	Runbook *runbook.Instance `cbor:"runbook,omitempty"`
	Salt    ID                `cbor:"salt"` // hides the command from who guesses at its commitment
}

// A Bound is a file that a word of a command names, and whose content is a part of the
// command: it runs with these bytes, or not at all.
type Bound struct {
	Word uint64        `cbor:"word"` // of Argv; 0 is the program itself
	Path string        `cbor:"path"` // where the agent found it: absolute and clean
	Hash envelope.Hash `cbor:"hash"` // SHA-256 of its bytes
}

// Check answers ErrMalformed for a command that no agent would run.
func (c Command) Check() error {
	if c.V != Version {
		return malformed("command: unknown version %d", c.V)
	}
	if c.Salt.IsZero() {
		return malformed("command: no salt")
	}
	if len(c.Argv) > 0 && c.Argv[0] == "" {
		return malformed("command: argv[0] is empty")
	}
	for _, a := range c.Argv {
		if !plain(a) {
			return malformed("command: an argument holds NUL or is not UTF-8")
		}
	}
	if len(c.Cwd) > maxPath || !plain(c.Cwd) || c.Cwd != "" && c.Cwd[0] != '/' {
		return malformed("command: cwd must be an absolute path of at most %d bytes", maxPath)
	}
	if len(c.Env) > maxEnv {
		return malformed("command: %d variables, at most %d", len(c.Env), maxEnv)
	}
	seen := make(map[string]bool, len(c.Env))
	for _, kv := range c.Env {
		if kv[0] == "" || strings.Contains(kv[0], "=") || seen[kv[0]] || !plain(kv[0]) || !plain(kv[1]) {
			return malformed("command: a variable's name is empty, repeated or holds '=', or its text holds NUL or is not UTF-8")
		}
		seen[kv[0]] = true
	}
	switch c.Stdin {
	case StdinNone, StdinTTY, StdinStream:
	default:
		digest, ok := strings.CutPrefix(c.Stdin, StdinHash)
		if _, err := envelope.ParseHash(digest); !ok || err != nil {
			return malformed("command: stdin is none, tty, stream or sha256:<64 hexadecimal digits>")
		}
	}
	if err := c.checkBound(); err != nil {
		return err
	}
	if c.Runbook != nil {
		if err := c.Runbook.Check(); err != nil {
			return malformed("command: %v", err)
		}
		if len(c.Argv) == 0 || len(c.Env) > 0 || c.Stdin != StdinNone {
			return malformed("command: a runbook's step has words, no variables of its own and no standard input")
		}
	}
	if n := len(c.encode()); n > MaxCommand {
		return malformed("command: %d bytes, at most %d; put it into a script on the target", n, MaxCommand)
	}
	return nil
}

func (c Command) checkBound() error {
	if len(c.Bound) > MaxBound {
		return malformed("command: %d bound files, at most %d", len(c.Bound), MaxBound)
	}
	for i, b := range c.Bound {
		switch {
		case b.Word >= uint64(len(c.Argv)) || i > 0 && b.Word <= c.Bound[i-1].Word:
			return malformed("command: bound files must be in the order of the words that name them")
		case len(b.Path) > maxPath || !plain(b.Path) || !strings.HasPrefix(b.Path, "/") || path.Clean(b.Path) != b.Path:
			return malformed("command: a bound file's path must be absolute and clean, of at most %d bytes", maxPath)
		case b.Hash.IsZero():
			return malformed("command: a bound file without its hash")
		}
	}
	return nil
}

// StdinDigest gives the SHA-256 that the standard input is bound to.
func (c Command) StdinDigest() (envelope.Hash, bool) {
	digest, ok := strings.CutPrefix(c.Stdin, StdinHash)
	b, err := hex.DecodeString(digest)
	if !ok || err != nil || len(b) != len(envelope.Hash{}) {
		return envelope.Hash{}, false
	}
	return envelope.Hash(b), true
}

// Commitment is SHA-256("tucdesk-command-v1" 0x00 and the deterministic CBOR).
// Who holds it learns nothing of the command, and no other command has it.
func (c Command) Commitment() envelope.Hash {
	return envelope.Sum(append([]byte("tucdesk-command-v1\x00"), c.encode()...))
}

func (c Command) encode() []byte {
	b, err := envelope.Marshal(c)
	if err != nil {
		panic("token: internal error: " + err.Error()) // a struct of texts always encodes
	}
	return b
}

// plain reports whether a program could get s as an argument, and a person see it.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// CheckKind answers ErrMalformed unless kind is a word and as a name or empty:
// the two texts that proof, grant, ask and approval share.
func CheckKind(kind, as string) error {
	if kind == "" || len(kind) > 16 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") != "" {
		return malformed("kind is 1 to 16 lower-case letters")
	}
	if as != "" && sanitize.Name(as) != nil {
		return malformed("as is not a name that may enter the system")
	}
	return nil
}
