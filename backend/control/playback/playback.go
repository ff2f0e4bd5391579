// Package playback fetches a recording, verifies it against the team's roster and
// audit log, and plays or exports it. It is where an auditor's device opens what
// nobody on the way could.
//
// Invariants:
//   - nothing is opened before every manifest, every segment and the log's word
//     about the session's end are checked;
//   - recorded output reaches a terminal only through internal/recording/screen;
//   - no plaintext reaches a disk but by Export, where its caller asks for it.
//
// apid's word is taken for nothing: it says where the log's entry is, and what
// that entry says is proved.
package playback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/recording/screen"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// API is the part of wire.Client that is needed.
type API interface {
	Recording(ctx context.Context, session token.ID, after uint64) (wire.RecordingPage, error)
	Segment(ctx context.Context, session token.ID, n uint64) ([]byte, error)
	LogProof(ctx context.Context, index uint64) ([]byte, error)
}

// A Recording is one that was verified as a whole. Close removes its sealed
// segments from this machine.
type Recording struct {
	*recording.Chain
	Header   recording.Header
	Agent    roster.Agent
	LogEntry *uint64 // of the session's end, which names the recording's head; nil: not in the log

	dir  string
	with key.Unsealer
}

// Open fetches and verifies the recording of a session, and opens its header.
func Open(ctx context.Context, api API, r *roster.Roster, with key.Unsealer, session token.ID) (_ *Recording, err error) {
	var manifests [][]byte
	var page wire.RecordingPage
	for {
		if page, err = api.Recording(ctx, session, uint64(len(manifests))); err != nil {
			return nil, err
		}
		manifests = append(manifests, page.Manifests...)
		if len(page.Manifests) == 0 || uint64(len(manifests)) >= page.Recording.Segments || len(manifests) > recording.MaxSegments {
			break
		}
	}
	rec := &Recording{with: with}
	if rec.Chain, err = recording.VerifyChain(r.TeamFP(), session, func(k key.Kid) (key.Public, bool) {
		a, ok := r.EverAgent(k)
		return a.Public, ok
	}, manifests); err != nil {
		return nil, err
	}
	rec.Agent, _ = r.EverAgent(rec.Chain.Agent())
	if page.EndEntry != nil {
		if err := rec.checkLog(ctx, api, r, session, *page.EndEntry); err != nil {
			return nil, err
		}
		rec.LogEntry = page.EndEntry
	}
	if rec.dir, err = os.MkdirTemp("", "tucdesk-recording-*"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			rec.Close()
		}
	}()
	if err := rec.Verify(ctx, fetched{api, session, rec.dir}); err != nil {
		return nil, err
	}
	rec.Header, err = rec.Chain.Header(ctx, kept(rec.dir), with)
	return rec, err
}

// checkLog compares the recording with what the audit log says of the end of its
// session.
func (rec *Recording) checkLog(ctx context.Context, api API, r *roster.Roster, session token.ID, index uint64) error {
	raw, err := api.LogProof(ctx, index)
	if err != nil {
		return err
	}
	p, err := audit.ParseProof(raw)
	if err != nil {
		return err
	}
	if _, err := p.Check(r.TeamFP(), r.ServerKeys(roster.ServerLog)...); err != nil {
		return fmt.Errorf("what apid answered does not prove entry %d of the log: %w", index, err)
	}
	u, err := audit.ParseEntry(p.Entry)
	if err != nil {
		return err
	}
	v, err := u.Verify(r.Key)
	if err != nil {
		return err
	}
	e := v.Entry()
	if p.Index != int64(index) || e.Type != audit.SessionEnd || e.SessionID != session || v.Signer() != rec.Chain.Agent() {
		return &recording.TamperError{What: fmt.Sprintf("entry %d of the audit log is not about the end of this session", index)}
	}
	head := e.Outcome.Recording
	switch {
	case rec.Complete() && head != rec.Head():
		return &recording.TamperError{What: "the audit log names another recording of this session"}
	case !head.IsZero() && !rec.Names(head):
		return &recording.TamperError{What: fmt.Sprintf("the audit log names a segment that is not here: the end was cut off after segment %d", rec.Segments())}
	}
	return nil
}

// Close removes what was fetched.
func (rec *Recording) Close() error { return os.RemoveAll(rec.dir) }

// fetched is a Source that fetches segments and keeps them, sealed as they are.
type fetched struct {
	api     API
	session token.ID
	dir     string
}

func (f fetched) Segment(ctx context.Context, n uint64) ([]byte, error) {
	b, err := f.api.Segment(ctx, f.session, n)
	if err != nil {
		return nil, err
	}
	return b, os.WriteFile(kept(f.dir).file(n), b, 0o600)
}

// kept is a Source of what fetched has kept in a folder.
type kept string

func (k kept) file(n uint64) string {
	return filepath.Join(string(k), strconv.FormatUint(n, 10)+".seg")
}

func (k kept) Segment(_ context.Context, n uint64) ([]byte, error) { return os.ReadFile(k.file(n)) }

// Options say how to play.
type Options struct {
	Speed     float64       // 1 is as it was; 0 makes no pauses
	IdleLimit time.Duration // no pause is longer, before Speed; 0: as it was
	From      time.Duration // begin here; what the screen held before is not drawn
	// Wait pauses; nil: until the time is over or ctx ends. Tests set it.
	Wait func(context.Context, time.Duration) error
}

// Play writes the recorded output to a terminal, or to whatever w is, through the
// one door for hostile text.
func (rec *Recording) Play(ctx context.Context, w io.Writer, o Options) error {
	if o.Wait == nil {
		o.Wait = wait
	}
	s := screen.New(w, rec.Header.Cols, rec.Header.Rows)
	at := o.From
	for e, err := range rec.Events(ctx, kept(rec.dir), rec.with, rec.At(o.From)) {
		if err != nil {
			return errors.Join(err, s.Close())
		}
		if cols, rows, ok := e.Size(); ok {
			s.Resize(cols, rows)
		}
		if e.Code != recording.Output {
			continue
		}
		if pause := e.Time - at; pause > 0 {
			if o.IdleLimit > 0 {
				pause = min(pause, o.IdleLimit)
			}
			if o.Speed > 0 {
				if err := o.Wait(ctx, time.Duration(float64(pause)/o.Speed)); err != nil {
					return errors.Join(err, s.Close())
				}
			}
			at = e.Time
		}
		if _, err := io.WriteString(s, e.Data); err != nil {
			return err
		}
	}
	return s.Close()
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Export writes the recording as an asciicast file, version 3 or 2. It is
// plaintext: whoever has the file has read the session.
func (rec *Recording) Export(ctx context.Context, w io.Writer, v2 bool) error {
	x, err := recording.NewExporter(w, rec.Header, v2)
	if err != nil {
		return err
	}
	for e, err := range rec.Events(ctx, kept(rec.dir), rec.with, 1) {
		if err != nil {
			return err
		}
		if err := x.Write(e); err != nil {
			return err
		}
	}
	return nil
}
