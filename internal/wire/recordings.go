package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	MaxManifest   = 1 << 10 // bytes of a recording's manifest
	MaxSegment    = 8 << 20 // bytes of a recording's sealed segment
	MaxUpload     = 2 + MaxManifest + MaxSegment
	MaxManifests  = 512 // manifests in one page
	MaxRecordings = 100 // recordings in one page

	uploadTimeout = 5 * time.Minute // one segment, either way
)

// SegmentRequest is POST /v1/recordings/{id}/segments: an agent's signed manifest
// of the next segment of a session's recording. A manifest that is recorded
// already is answered alike.
type SegmentRequest struct {
	Manifest []byte `json:"manifest"`
}

// SegmentAnswer says whether the segment is stored and recorded. If not, its bytes
// go to Upload with one HTTP PUT, and then the manifest is sent again; where
// Upload is empty they go to apid, with PutSegment.
type SegmentAnswer struct {
	Stored bool   `json:"stored"`
	Upload string `json:"upload,omitempty"` // a URL that is good for a few minutes
}

// AppendUpload frames what PUT /v1/recordings/{id}/segments takes: a manifest and
// the segment that it names.
func AppendUpload(b, manifest, segment []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(manifest)))
	return append(append(b, manifest...), segment...)
}

// CutUpload is the inverse of AppendUpload.
func CutUpload(b []byte) (manifest, segment []byte, err error) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) || binary.BigEndian.Uint16(b) > MaxManifest {
		return nil, nil, errors.New("wire: not a manifest and a segment")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}

// Recording is one row of GET /v1/recordings: what apid says. The manifests are
// what counts.
type Recording struct {
	SessionID token.ID `json:"session_id"`
	Operator  key.Kid  `json:"operator"`
	Agent     key.Kid  `json:"agent"`
	Started   int64    `json:"started"` // unix seconds of the session's grant
	Updated   int64    `json:"updated"` // unix seconds
	Segments  uint64   `json:"segments"`
	Size      uint64   `json:"size"`   // bytes, sealed
	Length    int64    `json:"length"` // ms of recorded time
	Final     bool     `json:"final"`  // the last segment is there
}

// RecordingsPage answers GET /v1/recordings?after=CURSOR: newest first.
type RecordingsPage struct {
	Recordings []Recording `json:"recordings"`
	Next       string      `json:"next,omitempty"`
}

// RecordingPage answers GET /v1/recordings/{id}?after=N: a recording, and its
// manifests after number N.
type RecordingPage struct {
	Recording Recording `json:"recording"`
	Manifests [][]byte  `json:"manifests"`
	// EndEntry is the number of the log's entry about the session's end, which
	// names the recording's last manifest; left out while there is none.
	EndEntry *uint64 `json:"end_entry,omitempty"`
}

// Recordings gives one page of the team's recordings, to auditors.
func (c *Client) Recordings(ctx context.Context, after string) (RecordingsPage, error) {
	return ask[RecordingsPage](ctx, c.do, &call{method: "GET", path: "/v1/recordings", query: cursor(nil, after)})
}

// Recording gives one recording and its manifests after a number.
func (c *Client) Recording(ctx context.Context, session token.ID, after uint64) (RecordingPage, error) {
	return ask[RecordingPage](ctx, c.do, &call{method: "GET", path: "/v1/recordings/" + session.String(), query: rosterQuery(after)})
}

// Segment gives the sealed bytes of one segment. Whoever reads them checks them
// against the manifest.
func (c *Client) Segment(ctx context.Context, session token.ID, n uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	resp, err := c.send(ctx, &call{method: "GET", path: "/v1/recordings/" + session.String() + "/segments/" + strconv.FormatUint(n, 10)})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxSegment+1))
	switch {
	case err != nil:
		return nil, noAnswer(c.base.Host, err)
	case len(b) > MaxSegment:
		return nil, NewProblem(KindTooLarge, fmt.Sprintf("the segment is longer than %d bytes", MaxSegment), "")
	}
	return b, nil
}

// PostManifest gives apid the manifest of a segment, and learns where the segment
// goes.
func (c *Signed) PostManifest(ctx context.Context, team string, session token.ID, manifest []byte) (SegmentAnswer, error) {
	return ask[SegmentAnswer](ctx, c.as(team), &call{
		method: "POST", path: "/v1/recordings/" + session.String() + "/segments", in: SegmentRequest{Manifest: manifest},
	})
}

// PutSegment gives apid a manifest with its segment.
func (c *Signed) PutSegment(ctx context.Context, team string, session token.ID, manifest, segment []byte) (SegmentAnswer, error) {
	return ask[SegmentAnswer](ctx, c.as(team), &call{
		method: "PUT", path: "/v1/recordings/" + session.String() + "/segments", raw: AppendUpload(nil, manifest, segment), wait: uploadTimeout,
	})
}

// Upload puts a segment where apid has said: at an object store's URL. It carries
// no credential but the URL itself, follows no redirect and reads no answer. The
// URL is not believed: whatever stands behind it gets bytes that it can't read.
func (c *Signed) Upload(ctx context.Context, to string, segment []byte) error {
	u, err := url.Parse(to)
	if err != nil {
		return NewProblem(KindMalformed, "apid names a URL for the upload that is none", "")
	}
	where := url.URL{Scheme: u.Scheme, Host: u.Host}
	if _, err := ParseBase(where.String()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, bytes.NewReader(segment))
	if err != nil {
		return NewProblem(KindMalformed, "apid names a URL for the upload that is none", "")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return noAnswer(u.Host, err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return NewProblem(KindUnavailable, fmt.Sprintf("the object store at %s answered with status %d", u.Host, resp.StatusCode), "try again; check its credentials at apid")
	}
	return nil
}

// rawBody gives the body of a call that is not JSON.
func (c *call) rawBody() ([]byte, [32]byte, error) {
	if len(c.raw) > MaxUpload {
		return nil, [32]byte{}, NewProblem(KindTooLarge, fmt.Sprintf("the upload has %d bytes, at most %d", len(c.raw), MaxUpload), "")
	}
	return c.raw, envelope.Sum(c.raw), nil
}
