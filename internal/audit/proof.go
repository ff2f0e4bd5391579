package audit

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// maxProofHashes is the height of a tree of 2^63 entries.
	maxProofHashes = 63
)

// A Proof shows offline that one entry is in a log: C2SP tlog-proof v1, with
// the entry itself as the extra data, so that one file says it all.
type Proof struct {
	Index      int64
	Hashes     tlog.RecordProof
	Checkpoint []byte // signed note
	Entry      []byte // envelope
}

// Prove makes the proof that entry number index is under a checkpoint. hashes
// must hold the tree at least up to the checkpoint's size.
func Prove(hashes tlog.HashReader, index int64, entry, checkpoint []byte) (Proof, error) {
	c, err := InsecureCheckpoint(checkpoint)
	if err != nil {
		return Proof{}, err
	}
	if index < 0 || index >= c.Size {
		return Proof{}, fmt.Errorf("audit: there is no entry %d under this checkpoint; it covers %d", index, c.Size)
	}
	p, err := tlog.ProveRecord(c.Size, index, hashes)
	if err != nil {
		return Proof{}, fmt.Errorf("audit: prove entry %d: %w", index, err)
	}
	return Proof{Index: index, Hashes: p, Checkpoint: checkpoint, Entry: entry}, nil
}

// Marshal gives the text form.
func (p Proof) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(p.Entry), p.Index)
	for _, h := range p.Hashes {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
	}
	fmt.Fprintf(&b, "\n%s", p.Checkpoint)
	return b.Bytes()
}

// ParseProof is the inverse of Marshal. It checks nothing else.
func ParseProof(b []byte) (Proof, error) {
	head, signed, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok || len(b) > 2*MaxEntry+MaxCheckpoint {
		return Proof{}, malformed("proof: want lines, an empty line, and a checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	if len(lines) < 3 || len(lines) > 3+maxProofHashes || lines[0] != proofHeader {
		return Proof{}, malformed("proof: the first line must be %s, then extra, index and hashes", proofHeader)
	}
	extra, ok1 := strings.CutPrefix(lines[1], "extra ")
	index, ok2 := strings.CutPrefix(lines[2], "index ")
	entry, err1 := base64.StdEncoding.Strict().DecodeString(extra)
	n, err2 := strconv.ParseInt(index, 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || n < 0 || len(entry) == 0 {
		return Proof{}, malformed("proof: the extra or index line is not in its form")
	}
	p := Proof{Index: n, Entry: entry, Checkpoint: bytes.Clone(signed)}
	for _, l := range lines[3:] {
		h, err := parseHash(l)
		if err != nil {
			return Proof{}, err
		}
		p.Hashes = append(p.Hashes, h)
	}
	if !bytes.Equal(p.Marshal(), b) {
		return Proof{}, malformed("proof: not in its one form")
	}
	return p, nil
}

// Check verifies that the entry is in the log of this team, by a checkpoint
// that one of the log's keys signed, and gives that checkpoint. Who signed the
// entry is another question: ParseEntry and Verify answer it.
func (p Proof) Check(teamFP envelope.Hash, keys ...key.Public) (Checkpoint, error) {
	c, err := VerifyCheckpoint(p.Checkpoint, teamFP, keys...)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(p.Entry)); err != nil {
		return Checkpoint{}, fmt.Errorf("audit: entry %d is not in the log: %w", p.Index, err)
	}
	return c, nil
}

// ProveConsistency makes the proof (RFC 6962 section 2.1.2) that the first
// older entries of a log are the same in the log of size newer.
func ProveConsistency(hashes tlog.HashReader, older, newer int64) (tlog.TreeProof, error) {
	if older == 0 && newer >= 0 {
		return nil, nil
	}
	p, err := tlog.ProveTree(newer, older, hashes)
	if err != nil {
		return nil, fmt.Errorf("audit: prove that %d extends %d: %w", newer, older, err)
	}
	return p, nil
}

// CheckConsistency verifies that the newer checkpoint extends the older one.
func CheckConsistency(p tlog.TreeProof, older, newer Checkpoint) error {
	if older.Origin != newer.Origin {
		return fmt.Errorf("%w: checkpoints of two logs", ErrForeign)
	}
	if older.Size == 0 && newer.Size >= 0 && len(p) == 0 {
		if empty, err := tlog.TreeHash(0, nil); err != nil || older.Root != empty {
			return fmt.Errorf("audit: a checkpoint of no entries with a root")
		}
		return nil
	}
	if err := tlog.CheckTree(p, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return fmt.Errorf("audit: the log of %d entries does not extend that of %d: %w", newer.Size, older.Size, err)
	}
	return nil
}
