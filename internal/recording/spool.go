package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// ErrFull means that the spool has no room: too much waits to be uploaded, or
// the disk is full.
var ErrFull = errors.New("recording: the spool is full")

const (
	extSegment  = ".seg"
	extManifest = ".manifest"
)

// A Spool is a folder of segments that wait to be uploaded: one folder for each
// session, in it N.seg, and N.manifest once segment N is signed. A segment is
// removed when it is uploaded, the folder when nothing of its session remains.
// All of it is sealed. One process uses a spool at a time.
type Spool struct {
	dir      string
	max      int64
	teamFP   envelope.Hash
	identity key.Identity
	damage   error // of OpenSpool

	mu    sync.Mutex
	used  int64              // bytes of segments on disk
	live  map[token.ID]bool  // sessions that are being recorded
	ready []Pending          // signed, not uploaded, oldest first
	left  map[token.ID]int   // how many of ready each session has
	stuck map[token.ID]error // sessions that the server refuses
	more  chan struct{}
}

// A Pending is a signed segment that waits to be uploaded.
type Pending struct {
	SessionID token.ID
	N         uint64
}

// OpenSpool opens the folder, making it with mode 0700 where it is missing. What
// a crash has left is signed with the agent's identity, as far as it is whole,
// and not as final. max bounds the segments on disk, in bytes.
//
// The sessions of running go on: their folders are left as they are until Resume.
func OpenSpool(dir string, max int64, teamFP envelope.Hash, identity key.Identity, running ...token.ID) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording: spool: %w", err)
	}
	s := &Spool{
		dir: dir, max: max, teamFP: teamFP, identity: identity, live: map[token.ID]bool{}, left: map[token.ID]int{}, stuck: map[token.ID]error{},
		more: make(chan struct{}, 1),
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("recording: spool: %w", err)
	}
	for _, e := range entries {
		id, err := token.ParseID(e.Name())
		if err != nil || !e.IsDir() {
			continue // not ours
		}
		recover := s.recover
		if slices.Contains(running, id) {
			recover = s.keep
		}
		if err := recover(id); err != nil {
			s.damage = errors.Join(s.damage, fmt.Errorf("recording: spool: session %s stays as it is: %w", id, err))
		}
	}
	return s, nil
}

// Damage tells of folders that OpenSpool could not make sense of: files that
// somebody changed, or a disk that fails. They stay where they are.
func (s *Spool) Damage() error { return s.damage }

func (s *Spool) folder(id token.ID) string { return filepath.Join(s.dir, id.String()) }

func (s *Spool) file(id token.ID, n uint64, ext string) string {
	return filepath.Join(s.folder(id), strconv.FormatUint(n, 10)+ext)
}

// numbers lists the files of a session with an extension, in order.
func (s *Spool) numbers(id token.ID, ext string) ([]uint64, error) {
	entries, err := os.ReadDir(s.folder(id))
	if err != nil {
		return nil, fmt.Errorf("recording: spool: %w", err)
	}
	var all []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ext)
		if n, err := strconv.ParseUint(name, 10, 32); ok && err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// recover takes in the folder of a session of an earlier run.
func (s *Spool) recover(id token.ID) error {
	segments, err := s.numbers(id, extSegment)
	if err != nil {
		return err
	}
	signed, err := s.numbers(id, extManifest)
	if err != nil {
		return err
	}
	for _, n := range segments {
		if !slices.Contains(signed, n) {
			whole, _, err := s.finish(id, n)
			if err != nil {
				return err
			}
			if !whole {
				continue
			}
		}
		st, err := os.Stat(s.file(id, n, extSegment))
		if err != nil {
			return err
		}
		s.used += st.Size()
		s.add(Pending{id, n})
	}
	return s.sweep(id)
}

// keep takes in the folder of a session that is being recorded still.
func (s *Spool) keep(id token.ID) error {
	segments, err := s.numbers(id, extSegment)
	if err != nil {
		return err
	}
	signed, err := s.numbers(id, extManifest)
	if err != nil {
		return err
	}
	s.live[id] = true
	for _, n := range segments {
		st, err := os.Stat(s.file(id, n, extSegment))
		if err != nil {
			return err
		}
		s.used += st.Size()
		if slices.Contains(signed, n) {
			s.add(Pending{id, n})
		}
	}
	return nil
}

// finish signs a segment that was left open, by a crash or by a disk that took no
// more, as far as it is whole. Where not even one chunk is, it removes it and
// reports false.
func (s *Spool) finish(id token.ID, n uint64) (bool, envelope.Hash, error) {
	name := s.file(id, n, extSegment)
	b, err := readFile(name, MaxSegment)
	if err != nil {
		return false, envelope.Hash{}, err
	}
	all, end, _ := chunks(b) // what is torn at the end is cut off
	if len(all) == 0 {
		return false, envelope.Hash{}, os.Remove(name)
	}
	m := Manifest{TeamFP: s.teamFP, SessionID: id, N: n, Len: uint64(end), SHA256: envelope.Sum(b[:end]), T1: all[len(all)-1].end}
	if n > 1 {
		raw, err := readFile(s.file(id, n-1, extManifest), MaxManifest)
		if err != nil {
			return false, envelope.Hash{}, err
		}
		u, err := ParseManifest(raw)
		if err != nil {
			return false, envelope.Hash{}, err
		}
		prev, err := u.Verify(envelope.One(s.identity.Public()))
		if err != nil {
			return false, envelope.Hash{}, err
		}
		m.Prev, m.T0 = prev.Hash(), prev.Body().T1
	}
	manifest, hash, err := SignManifest(s.identity, m)
	if err != nil {
		return false, envelope.Hash{}, err
	}
	if end < len(b) {
		if err := os.Truncate(name, int64(end)); err != nil {
			return false, envelope.Hash{}, err
		}
	}
	return true, hash, writeFile(s.file(id, n, extManifest), manifest)
}

// Create makes room for the recording of a session. It is ErrFull where there is
// none: at least one segment must fit.
func (s *Spool) Create(id token.ID) (*Spooled, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+MaxSegment > s.max {
		return nil, fmt.Errorf("%w: %d MiB wait to be uploaded", ErrFull, s.used>>20)
	}
	if s.live[id] {
		return nil, errors.New("recording: this session is being recorded already")
	}
	if err := os.Mkdir(s.folder(id), 0o700); err != nil {
		return nil, fmt.Errorf("recording: spool: %w", err)
	}
	if err := syncFolder(s.dir); err != nil {
		return nil, err
	}
	s.live[id] = true
	return &Spooled{s: s, id: id}, nil
}

// Resume gives the sink of a session that was running when the spool was opened. What
// was appended and not acknowledged may be there or not: see [Spooled.AppendAt]. It is
// fs.ErrNotExist where the session had no recording.
func (s *Spool) Resume(id token.ID) (*Spooled, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live[id] {
		return nil, fmt.Errorf("recording: spool: session %s: %w", id, fs.ErrNotExist)
	}
	o := &Spooled{s: s, id: id}
	signed, err := s.numbers(id, extManifest)
	if err != nil {
		return nil, err
	}
	if len(signed) > 0 {
		if o.head, err = s.hash(id, signed[len(signed)-1]); err != nil {
			return nil, err
		}
	}
	segments, err := s.numbers(id, extSegment)
	if err != nil || len(segments) == 0 {
		return o, err
	}
	last := segments[len(segments)-1]
	if _, err := os.Stat(s.file(id, last, extManifest)); err == nil {
		return o, nil
	}
	return o, o.open(last)
}

// hash gives that of a signed manifest.
func (s *Spool) hash(id token.ID, n uint64) (envelope.Hash, error) {
	raw, err := readFile(s.file(id, n, extManifest), MaxManifest)
	if err != nil {
		return envelope.Hash{}, err
	}
	u, err := ParseManifest(raw)
	if err != nil {
		return envelope.Hash{}, err
	}
	v, err := u.Verify(envelope.One(s.identity.Public()))
	if err != nil {
		return envelope.Hash{}, err
	}
	return v.Hash(), nil
}

// Next gives the oldest segment that waits, false if none does.
func (s *Spool) Next() (Pending, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ready {
		if s.stuck[p.SessionID] == nil {
			return p, true
		}
	}
	return Pending{}, false
}

// Manifest gives the signed manifest of a segment.
func (s *Spool) Manifest(p Pending) ([]byte, error) {
	return readFile(s.file(p.SessionID, p.N, extManifest), MaxManifest)
}

// Segment gives its bytes.
func (s *Spool) Segment(p Pending) ([]byte, error) {
	return readFile(s.file(p.SessionID, p.N, extSegment), MaxSegment)
}

// Done forgets a segment that was uploaded.
func (s *Spool) Done(p Pending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.ready, p)
	if i < 0 {
		return nil
	}
	name := s.file(p.SessionID, p.N, extSegment)
	st, err := os.Stat(name)
	if err == nil {
		err = os.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("recording: spool: %w", err)
	}
	if err == nil {
		s.used -= st.Size()
	}
	s.ready = slices.Delete(s.ready, i, i+1)
	s.left[p.SessionID]--
	return s.sweep(p.SessionID)
}

// SetAside leaves the session of a segment out of Next until the spool is opened
// again: the server refuses it for a reason that more tries do not change. Its
// segments stay on disk.
func (s *Spool) SetAside(p Pending, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck[p.SessionID] = why
}

// sweep removes the folder of a session of which nothing waits. The caller holds
// mu, or nobody else has the spool yet.
func (s *Spool) sweep(id token.ID) error {
	if s.live[id] || s.left[id] > 0 {
		return nil
	}
	delete(s.left, id)
	if err := os.RemoveAll(s.folder(id)); err != nil {
		return fmt.Errorf("recording: spool: %w", err)
	}
	return nil
}

// More receives after segments were signed. It holds at most one signal.
func (s *Spool) More() <-chan struct{} { return s.more }

func (s *Spool) signal() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Used is how many bytes wait, and are being written.
func (s *Spool) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// A Spooled is the Sink of one session.
type Spooled struct {
	s  *Spool
	id token.ID
	f  *os.File
	n  uint64 // of f
	// size is what f was given room for.
	size int64
	head envelope.Hash // of the newest manifest
}

// Head gives the hash of the newest manifest, zero if there is none.
func (o *Spooled) Head() envelope.Hash { return o.head }

// Append implements Sink.
func (o *Spooled) Append(n uint64, b []byte) error { return o.AppendAt(n, o.size, b) }

// AppendAt is Append for who does not know whether an earlier call was done: segment n
// has at bytes of which it knows, and what is beyond them goes.
func (o *Spooled) AppendAt(n uint64, at int64, b []byte) error {
	if o.f == nil {
		if err := o.open(n); err != nil {
			return err
		}
	}
	if n != o.n {
		return fmt.Errorf("spool: segment %d is open, not %d", o.n, n)
	}
	if at < 0 || at > o.size {
		return fmt.Errorf("spool: segment %d has %d bytes, not %d", n, o.size, at)
	}
	if at < o.size {
		if err := o.f.Truncate(at); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		o.s.release(o.size - at)
		o.size = at
	}
	if err := o.s.reserve(int64(len(b))); err != nil {
		return err
	}
	o.size += int64(len(b))
	if _, err := o.f.Write(b); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := o.f.Sync(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// open opens segment n: a new one, or one that an earlier process has begun.
func (o *Spooled) open(n uint64) error {
	if _, err := os.Stat(o.s.file(o.id, n, extManifest)); err == nil {
		return fmt.Errorf("spool: segment %d is signed", n)
	}
	f, err := os.OpenFile(o.s.file(o.id, n, extSegment), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("spool: %w", err)
	}
	o.f, o.n, o.size = f, n, st.Size()
	return syncFolder(o.s.folder(o.id))
}

func (s *Spool) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.max {
		return fmt.Errorf("%w: %d MiB wait to be uploaded", ErrFull, s.used>>20)
	}
	s.used += n
	return nil
}

func (s *Spool) release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// Sign implements Sink. Signing a segment again gives what the first time gave.
func (o *Spooled) Sign(m Manifest) (envelope.Hash, error) {
	m.TeamFP, m.SessionID = o.s.teamFP, o.id
	manifest, hash, err := SignManifest(o.s.identity, m)
	if err != nil {
		return envelope.Hash{}, err
	}
	name := o.s.file(o.id, m.N, extManifest)
	if had, err := readFile(name, MaxManifest); o.f == nil && err == nil && bytes.Equal(had, manifest) {
		return hash, nil
	}
	if o.f == nil {
		if err := o.open(m.N); err != nil {
			return envelope.Hash{}, err
		}
	}
	if m.N != o.n || m.Len != uint64(o.size) {
		return envelope.Hash{}, fmt.Errorf("spool: segment %d of %d bytes is not the open one", m.N, m.Len)
	}
	err = o.f.Close()
	o.f, o.size = nil, 0
	if err == nil {
		err = writeFile(name, manifest)
	}
	if err != nil {
		return envelope.Hash{}, fmt.Errorf("spool: %w", err)
	}
	o.head = hash
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.add(Pending{o.id, m.N})
	return hash, nil
}

// add takes a signed segment into the queue. The caller holds mu.
func (s *Spool) add(p Pending) {
	s.ready = append(s.ready, p)
	s.left[p.SessionID]++
	s.signal()
}

// Close says that the session records no more. A segment that has no manifest,
// because the recording failed, is signed now as far as it is whole.
func (o *Spooled) Close() error {
	whole, left := false, o.f != nil
	if left {
		o.f.Close()
		o.f = nil
		var err error
		var head envelope.Hash
		if whole, head, err = o.s.finish(o.id, o.n); err != nil {
			return fmt.Errorf("recording: spool: %w", err) // the folder stays, for the next start
		}
		if whole {
			o.head = head
		}
	}
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	delete(o.s.live, o.id)
	if left {
		o.s.used -= o.size
	}
	if whole {
		if st, err := os.Stat(o.s.file(o.id, o.n, extSegment)); err == nil {
			o.s.used += st.Size()
		}
		o.s.add(Pending{o.id, o.n})
	}
	return o.s.sweep(o.id)
}

func readFile(name string, max int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("recording: spool: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = malformed("%s is longer than %d bytes", filepath.Base(name), max)
	}
	if err != nil {
		return nil, fmt.Errorf("recording: spool: %w", err)
	}
	return b, nil
}

// writeFile writes a file whole or not at all, durably.
func writeFile(name string, b []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	return err
}

// syncFolder makes names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("recording: spool: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("recording: spool: %w", err)
	}
	return nil
}
