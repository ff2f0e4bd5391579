package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// MaxCheckpoint bounds a signed note, in bytes.
const MaxCheckpoint = 4096

// A Checkpoint is the state of a log: how many entries, and their Merkle root
// (RFC 6962 section 2.1).
type Checkpoint struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   tlog.Hash `json:"root"`
}

// Origin names a team's log. It is also the name of the key in the signed note.
func Origin(teamFP envelope.Hash) string { return "tucdesk.app/log/" + teamFP.String() }

// Restarts gives the states from which the log of a roster's team was let go on.
func Restarts(r *roster.Roster) []Checkpoint {
	var out []Checkpoint
	for _, s := range r.Restarts() {
		out = append(out, Checkpoint{Origin(r.TeamFP()), int64(min(s.Size, 1<<62)), tlog.Hash(s.Root)})
	}
	return out
}

// Lift gives what a checkpoint that was signed after so many restarts still says after
// more of them: at most the states from which the log was let go on.
func (c Checkpoint) Lift(restarts []Checkpoint, from, to int) Checkpoint {
	for i := max(from, 0); i < min(to, len(restarts)); i++ {
		if c.Size > restarts[i].Size {
			c = restarts[i]
		}
	}
	return c
}

// text is the note's text: C2SP tlog-checkpoint without extension lines.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// SignCheckpoint signs c with the log's key, as a signed note.
func SignCheckpoint(c Checkpoint, by key.Identity) ([]byte, error) {
	v, err := verifier(c.Origin, by.Public())
	if err != nil {
		return nil, err
	}
	b, err := note.Sign(&note.Note{Text: c.text()}, noteSigner{v, by})
	if err != nil {
		return nil, fmt.Errorf("audit: sign the checkpoint: %w", err)
	}
	return b, nil
}

// VerifyCheckpoint reads a signed note and gives the checkpoint in it, if one
// of keys has signed it as the log of this team. Lines by keys that are not
// given (witnesses) are passed over, as C2SP signed-note demands; that they are
// in the one allowed form is checked.
func VerifyCheckpoint(signed []byte, teamFP envelope.Hash, keys ...key.Public) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, malformed("checkpoint: %d bytes, at most %d", len(signed), MaxCheckpoint)
	}
	if err := strictSignatures(signed); err != nil {
		return Checkpoint{}, err
	}
	var known []note.Verifier
	for _, k := range keys {
		v, err := verifier(Origin(teamFP), k)
		if err != nil {
			return Checkpoint{}, err
		}
		known = append(known, v)
	}
	n, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("audit: checkpoint: %w", err)
	}
	c, err := parseText(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != Origin(teamFP) {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint of another log", ErrForeign)
	}
	return c, nil
}

// parseText is the inverse of Checkpoint.text.
func parseText(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, malformed("checkpoint: want the lines origin, size and root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, malformed("checkpoint: the size is not a number")
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if c.Origin == "" || c.text() != text {
		return Checkpoint{}, malformed("checkpoint: not in its one form")
	}
	return c, nil
}

// InsecureCheckpoint reads the checkpoint in a note without checking who signed
// it, to learn which size to ask a proof for.
func InsecureCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	if len(signed) > MaxCheckpoint || !ok {
		return Checkpoint{}, malformed("checkpoint: not a signed note of at most %d bytes", MaxCheckpoint)
	}
	return parseText(string(text) + "\n")
}

// strictSignatures refuses signature lines that differ from the form in which
// note.Sign writes them: the base64 of package note leaves unused bits free.
func strictSignatures(signed []byte) error {
	_, lines, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok || !bytes.HasSuffix(lines, []byte("\n")) {
		return malformed("checkpoint: not a signed note")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(lines), "\n"), "\n") {
		f := strings.Split(line, " ")
		if len(f) != 3 || f[0] != "—" {
			return malformed("checkpoint: not a signature line")
		}
		if _, err := base64.StdEncoding.Strict().DecodeString(f[2]); err != nil {
			return malformed("checkpoint: a signature is not in strict base64")
		}
	}
	return nil
}

func parseHash(s string) (h tlog.Hash, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(h) || len(s) != base64.StdEncoding.EncodedLen(len(h)) {
		return h, malformed("a hash is 44 characters of base64")
	}
	copy(h[:], b)
	return h, nil
}

func verifier(name string, k key.Public) (note.Verifier, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("%w: the log has no key", ErrSigner)
	}
	vkey, err := note.NewEd25519VerifierKey(name, k.Bytes())
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return v, nil
}

// noteSigner signs notes with an identity: same name and key hash as verifier.
type noteSigner struct {
	note.Verifier
	id key.Identity
}

func (s noteSigner) Sign(msg []byte) ([]byte, error) {
	return s.id.RawSigner().Sign(rand.Reader, msg, noHash{})
}
