package api

import (
	"bytes"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3/s3test"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// captured is a recording before it is uploaded.
type captured struct {
	agent               key.Identity
	segments, manifests [][]byte
}

func (c *captured) Append(n uint64, b []byte) error {
	if int(n) > len(c.segments) {
		c.segments = append(c.segments, nil)
	}
	c.segments[n-1] = append(c.segments[n-1], b...)
	return nil
}

func (c *captured) Sign(m recording.Manifest) (envelope.Hash, error) {
	manifest, hash, err := recording.SignManifest(c.agent, m)
	c.manifests = append(c.manifests, manifest)
	return hash, err
}

// capture records a session as an agent does: two segments and more.
func (c *crew) capture(t testing.TB, agent key.Identity, session token.ID) *captured {
	t.Helper()
	out := &captured{agent: agent}
	w, err := recording.NewWriter(recording.Config{
		TeamFP: c.roster.TeamFP(), SessionID: session, Auditors: []key.Recipient{newRecipient(t)},
	}, out)
	if err != nil {
		t.Fatal(err)
	}
	noise := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	s := w.Stream(true)
	for range recording.MaxSegment / len(noise) {
		if _, err := s.Write(noise); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(out.manifests) != 2 {
		t.Fatalf("%d segments, want 2", len(out.manifests))
	}
	return out
}

// recorded opens a session on web-1 and uploads its recording.
func (c *crew) recorded(t testing.TB) (token.ID, *captured) {
	t.Helper()
	id := token.NewID()
	if _, err := c.alice.open(c.staging.Kid(), id); err != nil {
		t.Fatal(err)
	}
	rec := c.capture(t, c.staging, id)
	agent := c.s.signedBy(t, c.staging)
	for i, m := range rec.manifests {
		a, err := agent.PutSegment(t.Context(), c.name, id, m, rec.segments[i])
		if err != nil || !a.Stored {
			t.Fatalf("segment %d: %+v, %v", i+1, a, err)
		}
	}
	return id, rec
}

func TestRecordingFlow(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	id := token.NewID()
	if _, err := c.alice.open(c.staging.Kid(), id); err != nil {
		t.Fatal(err)
	}
	rec := c.capture(t, c.staging, id)
	agent := s.signedBy(t, c.staging)
	a, err := agent.PostManifest(t.Context(), c.name, id, rec.manifests[0])
	if err != nil || a.Stored || a.Upload != "" {
		t.Fatalf("before the upload: %+v, %v", a, err)
	}
	for range 2 { // sending again is harmless
		if a, err = agent.PutSegment(t.Context(), c.name, id, rec.manifests[0], rec.segments[0]); err != nil || !a.Stored {
			t.Fatalf("upload: %+v, %v", a, err)
		}
	}
	if a, err = agent.PostManifest(t.Context(), c.name, id, rec.manifests[0]); err != nil || !a.Stored {
		t.Fatalf("after the upload: %+v, %v", a, err)
	}
	list, err := c.dora.client.Recordings(t.Context(), "")
	if err != nil || len(list.Recordings) != 1 || list.Recordings[0].Final || list.Recordings[0].Operator != c.alice.id.Kid() {
		t.Fatalf("list: %+v, %v", list, err)
	}
	if _, err = agent.PutSegment(t.Context(), c.name, id, rec.manifests[1], rec.segments[1]); err != nil {
		t.Fatal(err)
	}
	page, err := c.dora.client.Recording(t.Context(), id, 0)
	if err != nil || len(page.Manifests) != 2 || !page.Recording.Final || page.EndEntry != nil {
		t.Fatalf("recording: %+v, %v", page, err)
	}
	chain, err := recording.VerifyChain(c.roster.TeamFP(), id, c.roster.Key, page.Manifests)
	if err != nil || !chain.Complete() {
		t.Fatal(err)
	}
	for n := range chain.Segments() {
		b, err := c.dora.client.Segment(t.Context(), id, n+1)
		if err != nil {
			t.Fatal(err)
		}
		if err := chain.CheckSegment(n+1, b); err != nil {
			t.Error(err)
		}
	}
	// The end of the session in the log names the recording's head, and apid
	// says where.
	at := audit.NewChain(c.staging, audit.Link{})
	entry, err := at.Next(audit.Entry{
		TeamFP: c.roster.TeamFP(), TeamID: c.name, Type: audit.SessionEnd, Timestamp: s.clock.Now().Unix(), Action: "exec", SessionID: id,
		Actor: audit.Party{Kid: c.staging.Kid()}, Target: audit.Party{Kid: c.staging.Kid()}, RosterHead: c.roster.Head(),
		Outcome: audit.Outcome{Recording: chain.Head()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.PostEntries(t.Context(), c.name, entry); err != nil {
		t.Fatal(err)
	}
	if page, err = c.dora.client.Recording(t.Context(), id, 2); err != nil || page.EndEntry == nil || len(page.Manifests) != 0 {
		t.Fatalf("after the end: %+v, %v", page, err)
	}
	raw, err := c.dora.client.LogProof(t.Context(), *page.EndEntry)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := audit.ParseProof(raw); err != nil || !bytes.Equal(p.Entry, entry) {
		t.Errorf("entry %d is another one (%v)", *page.EndEntry, err)
	}
	// Who is no auditor gets nothing.
	for _, p := range []*person{c.alice, c.bob} {
		_, err1 := p.client.Recordings(t.Context(), "")
		_, err2 := p.client.Recording(t.Context(), id, 0)
		_, err3 := p.client.Segment(t.Context(), id, 1)
		for _, err := range []error{err1, err2, err3} {
			wantProblem(t, err, wire.KindDenied)
		}
	}
	_, err = c.dora.client.Segment(t.Context(), id, 3)
	wantProblem(t, err, wire.KindNotFound)
}

// What is not the next segment of the agent's own session is refused, and nothing
// of it is kept.
func TestRecordingRefusals(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	id, rec := c.recorded(t)
	web, db := s.signedBy(t, c.staging), s.signedBy(t, c.prod)
	fresh := token.NewID()
	if _, err := c.alice.open(c.staging.Kid(), fresh); err != nil {
		t.Fatal(err)
	}
	good, foreign := c.capture(t, c.staging, fresh), c.capture(t, c.prod, fresh)
	for _, tt := range []struct {
		name              string
		as                *wire.Signed
		session           token.ID
		manifest, segment []byte
		want              wire.Kind
	}{
		{"another agent's session", db, fresh, foreign.manifests[0], foreign.segments[0], wire.KindNotFound},
		{"another agent's manifest", db, fresh, good.manifests[0], good.segments[0], wire.KindDenied},
		{"a session that never was", web, token.NewID(), good.manifests[0], good.segments[0], wire.KindNotFound},
		{"out of order", web, fresh, good.manifests[1], good.segments[1], wire.KindConflict},
		{"another segment", web, fresh, good.manifests[0], good.segments[1], wire.KindMalformed},
		{"no manifest", web, fresh, []byte("x"), good.segments[0], wire.KindMalformed},
		{"another manifest with a number that is recorded", web, id, c.capture(t, c.staging, id).manifests[0], rec.segments[0], wire.KindMalformed},
		{"the same, with its own segment", web, id, nil, nil, wire.KindConflict},
	} {
		if tt.manifest == nil {
			other := c.capture(t, c.staging, id)
			tt.manifest, tt.segment = other.manifests[0], other.segments[0]
		}
		_, err := tt.as.PutSegment(t.Context(), c.name, tt.session, tt.manifest, tt.segment)
		if p := wantProblem(t, err, tt.want); p == nil {
			t.Error(tt.name)
		}
	}
	if list, err := c.dora.client.Recordings(t.Context(), ""); err != nil || len(list.Recordings) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	// A body is read only after its signature, and must be what was signed.
	body := wire.AppendUpload(nil, good.manifests[0], good.segments[0])
	path := "/v1/recordings/" + fresh.String() + "/segments?team=" + c.name
	signed, err := token.SignRequest(c.staging, token.Request{Method: "PUT", URL: s.url + path, BodySHA256: envelope.Sum(body), Time: s.clock.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)-1] ^= 1
	if status, _ := s.send(t, "PUT", path, map[string][]string{wire.HeaderRequest: {signed}}, body); status != 401 {
		t.Errorf("a body that is not the signed one: %d", status)
	}
	if status, _ := s.send(t, "PUT", path, nil, body); status != 401 {
		t.Errorf("a body without a signature: %d", status)
	}
	if status, _ := c.signedSend(t, c.staging, "PUT", path, make([]byte, wire.MaxUpload+1)); status != 413 {
		t.Errorf("a body that is too long: %d", status)
	}
}

// With an object store, segments go there by themselves, and come back through
// apid.
func TestRecordingInS3(t *testing.T) {
	blobs, err := s3.New(s3test.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	s := newServerWith(t, blobs)
	c := newCrew(t, s, "acme")
	id := token.NewID()
	if _, err := c.alice.open(c.staging.Kid(), id); err != nil {
		t.Fatal(err)
	}
	rec := c.capture(t, c.staging, id)
	agent := s.signedBy(t, c.staging)
	for i, m := range rec.manifests {
		a, err := agent.PostManifest(t.Context(), c.name, id, m)
		if err != nil || a.Stored || a.Upload == "" {
			t.Fatalf("segment %d: %+v, %v", i+1, a, err)
		}
		// An upload that was cut off is not taken for the segment.
		if err := agent.Upload(t.Context(), a.Upload, rec.segments[i][:100]); err != nil {
			t.Fatal(err)
		}
		if a, err = agent.PostManifest(t.Context(), c.name, id, m); err != nil || a.Stored {
			t.Fatalf("segment %d, cut off: %+v, %v", i+1, a, err)
		}
		if err := agent.Upload(t.Context(), a.Upload, rec.segments[i]); err != nil {
			t.Fatal(err)
		}
		if a, err = agent.PostManifest(t.Context(), c.name, id, m); err != nil || !a.Stored {
			t.Fatalf("segment %d, uploaded: %+v, %v", i+1, a, err)
		}
		b, err := c.dora.client.Segment(t.Context(), id, uint64(i+1))
		if err != nil || !bytes.Equal(b, rec.segments[i]) {
			t.Errorf("segment %d comes back as another: %v", i+1, err)
		}
	}
}
