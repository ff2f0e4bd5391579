// Package backup writes everything that a store keeps into one file, and reads
// it into an empty store, of the same engine or the other. The file is the rows
// as they are: signed objects and their index. It holds no key, since a store has
// none; it holds who did what, so it is as private as the database.
//
//	"tucdesk backup v1\n"
//	frame, frame, …
//
// A frame is a kind (1 byte), the length of its body (4 bytes, big endian) and
// the body, deterministic CBOR:
//
//	T  a team begins: its id (text)
//	C  a table begins: [name, column, …] (text)
//	R  a row of that table: [cell, …] (int, text or bytes)
//	Z  the end: SHA-256 of every byte before this frame (32 bytes, no CBOR)
//
// The digest finds damage; it is no protection against anybody. Whoever alters
// a backup is found where the log is verified. The tree of a log is not in the
// file: Read makes it anew from the entries, and it must lead to the root of the
// stored checkpoint.
//
// The package must not import a database driver or a service package.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/relational"
)

const (
	magic    = "tucdesk backup v1\n"
	maxFrame = store.MaxBody + 16<<10 // one row: a body and what stands beside it
)

const (
	kindTeam  = 'T'
	kindTable = 'C'
	kindRow   = 'R'
	kindEnd   = 'Z'
)

var (
	// ErrDamaged means a file that is no backup, is cut short, or has changed.
	ErrDamaged = errors.New("backup: damaged")
	// ErrNotEmpty means a store that has teams. Nothing was read into it.
	ErrNotEmpty = errors.New("backup: the store is not empty")
	// ErrTree means entries that do not lead to the checkpoint which was signed
	// over them.
	ErrTree = errors.New("backup: the entries are not those of the log's checkpoint")
)

// A Source is a store that a backup is made of.
type Source interface {
	Teams(ctx context.Context, after string, limit int) ([]string, error)
	Dump(ctx context.Context, team string, yield func(relational.Row) error) error
}

// A Destination is an empty store.
type Destination interface {
	Teams(ctx context.Context, after string, limit int) ([]string, error)
	Load(ctx context.Context, f func(*relational.Loader) error) error
}

// A Team is what a backup says of one team.
type Team struct {
	ID      string
	Rows    int
	Entries int64 // in its log
}

// Write writes all teams of a store, each as it is at one moment.
func Write(ctx context.Context, from Source, to io.Writer) ([]Team, error) {
	w := &writer{to: bufio.NewWriterSize(to, 64<<10), sum: sha256.New()}
	w.raw([]byte(magic))
	var all []Team
	for after := ""; ; {
		page, err := from.Teams(ctx, after, store.MaxPage)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for _, id := range page {
			team, err := w.team(ctx, from, id)
			if err != nil {
				return nil, fmt.Errorf("backup: team %s: %w", id, err)
			}
			all = append(all, team)
		}
		after = page[len(page)-1]
	}
	w.frame(kindEnd, w.sum.Sum(nil))
	if w.err == nil {
		w.err = w.to.Flush()
	}
	if w.err != nil {
		return nil, fmt.Errorf("backup: write: %w", w.err)
	}
	return all, nil
}

type writer struct {
	to  *bufio.Writer
	sum hash.Hash
	err error
}

func (w *writer) raw(b []byte) {
	if w.err == nil {
		w.sum.Write(b)
		_, w.err = w.to.Write(b)
	}
}

func (w *writer) frame(kind byte, body []byte) {
	w.raw(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))))
	w.raw(body)
}

func (w *writer) value(kind byte, v any) error {
	b, err := envelope.Marshal(v)
	if err != nil {
		return err
	}
	w.frame(kind, b)
	return w.err
}

func (w *writer) team(ctx context.Context, from Source, id string) (Team, error) {
	t := Team{ID: id}
	if err := w.value(kindTeam, id); err != nil {
		return t, err
	}
	table := ""
	err := from.Dump(ctx, id, func(r relational.Row) error {
		if r.Table != table {
			table = r.Table
			if err := w.value(kindTable, append([]string{table}, r.Columns...)); err != nil {
				return err
			}
		}
		t.Rows++
		if table == relational.Entries {
			t.Entries++
		}
		return w.value(kindRow, r.Cells)
	})
	return t, err
}

// Read checks a whole backup and then reads it into an empty store, which has
// all of it or, after an error, nothing. ErrDamaged, ErrNotEmpty, ErrTree.
func Read(ctx context.Context, from io.ReadSeeker, into Destination) ([]Team, error) {
	if teams, err := into.Teams(ctx, "", 1); err != nil {
		return nil, err
	} else if len(teams) > 0 {
		return nil, fmt.Errorf("%w: it has the team %s; restore into a new database", ErrNotEmpty, teams[0])
	}
	if err := Check(ctx, from); err != nil {
		return nil, err
	}
	var all []Team
	err := into.Load(ctx, func(l *relational.Loader) (err error) {
		all, err = scan(ctx, from, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Check reads a backup to its end, and goes back to its beginning. ErrDamaged.
func Check(ctx context.Context, from io.ReadSeeker) error {
	if _, err := scan(ctx, from, nil); err != nil {
		return err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// scanner reads the frames of a backup in their order.
type scanner struct {
	from    *bufio.Reader
	sum     hash.Hash
	at      int64 // of the frame that is read, for errors
	loader  *relational.Loader
	tx      store.Tx
	all     []Team
	table   string
	columns []string
}

// scan reads a backup to its end and gives its rows to l, if there is one.
func scan(ctx context.Context, from io.Reader, l *relational.Loader) ([]Team, error) {
	s := &scanner{from: bufio.NewReaderSize(from, 64<<10), sum: sha256.New(), loader: l}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(s.from, head); err != nil || string(head) != magic {
		return nil, fmt.Errorf("%w: this is no backup of TucDesk, or one of another version", ErrDamaged)
	}
	s.sum.Write(head)
	s.at = int64(len(head))
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("backup: %w", err)
		}
		end, err := s.next()
		if errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrConflict) {
			err = fmt.Errorf("%w at byte %d: %w", ErrDamaged, s.at, err)
		}
		if err != nil {
			return nil, err
		}
		if end {
			return s.all, nil
		}
	}
}

func (s *scanner) damaged(why string) error {
	return fmt.Errorf("%w at byte %d: %s", ErrDamaged, s.at, why)
}

func (s *scanner) next() (end bool, err error) {
	var head [5]byte
	if _, err := io.ReadFull(s.from, head[:]); err != nil {
		return false, s.damaged("it ends too early")
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return false, s.damaged("a part is too long")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(s.from, body); err != nil {
		return false, s.damaged("it ends too early")
	}
	if head[0] == kindEnd {
		return true, s.end(body)
	}
	s.sum.Write(head[:])
	s.sum.Write(body)
	switch head[0] {
	case kindTeam:
		err = s.team(body)
	case kindTable:
		err = s.begin(body)
	case kindRow:
		err = s.row(body)
	default:
		err = s.damaged("a part of no known kind")
	}
	s.at += int64(len(head)) + int64(n)
	return false, err
}

func (s *scanner) end(digest []byte) error {
	if !bytes.Equal(digest, s.sum.Sum(nil)) {
		return s.damaged("its digest is another")
	}
	if _, err := s.from.ReadByte(); !errors.Is(err, io.EOF) {
		return s.damaged("something follows its end")
	}
	return s.finish()
}

func (s *scanner) team(body []byte) error {
	if err := s.finish(); err != nil {
		return err
	}
	var id string
	if envelope.Unmarshal(body, &id) != nil || store.CheckTeam(id) != nil {
		return s.damaged("a team's id is none")
	}
	if slices.ContainsFunc(s.all, func(t Team) bool { return t.ID == id }) {
		return s.damaged("a team is in it twice")
	}
	s.all, s.table = append(s.all, Team{ID: id}), ""
	if s.loader == nil {
		return nil
	}
	var err error
	s.tx, err = s.loader.Team(id)
	return err
}

func (s *scanner) begin(body []byte) error {
	var names []string
	if len(s.all) == 0 || envelope.Unmarshal(body, &names) != nil || len(names) < 2 {
		return s.damaged("a table that is none")
	}
	s.table, s.columns = names[0], names[1:]
	return nil
}

func (s *scanner) row(body []byte) error {
	var cells []any
	if s.table == "" || envelope.Unmarshal(body, &cells) != nil {
		return s.damaged("a row that is none")
	}
	for i, c := range cells {
		if n, ok := c.(uint64); ok {
			if int64(n) < 0 {
				return s.damaged("a number is too large")
			}
			cells[i] = int64(n)
		}
	}
	team := &s.all[len(s.all)-1]
	team.Rows++
	if s.table == relational.Entries {
		team.Entries++
	}
	if s.loader == nil {
		return nil
	}
	return s.loader.Row(relational.Row{Table: s.table, Columns: s.columns, Cells: cells})
}

// finish checks the log of the team that was loaded last.
func (s *scanner) finish() error {
	if s.loader == nil || len(s.all) == 0 {
		return nil
	}
	size, note, err := s.tx.Audit.Checkpoint()
	if err != nil || len(note) == 0 {
		return err
	}
	id := s.all[len(s.all)-1].ID
	c, err := audit.InsecureCheckpoint(note)
	if err != nil || c.Size != size {
		return fmt.Errorf("%w: team %s: the checkpoint is none", ErrTree, id)
	}
	root, err := tlog.TreeHash(size, s.tx.Audit)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || root != c.Root {
		return fmt.Errorf("%w: team %s, %d entries", ErrTree, id, size)
	}
	return nil
}
