package recording

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

var update = flag.Bool("update", false, "write testdata/golden.json anew")

// golden is a recording as an earlier version made it: what is stored must open
// for as long as somebody keeps it.
type golden struct {
	TeamFP    envelope.Hash `json:"team_fp"`
	SessionID token.ID      `json:"session_id"`
	Agent     key.Public    `json:"agent"`
	Auditor   string        `json:"auditor"` // the private key, made for this file
	Manifests [][]byte      `json:"manifests"`
	Segments  [][]byte      `json:"segments"`
	Cast      string        `json:"cast"`
}

const goldenFile = "testdata/golden.json"

func TestGolden(t *testing.T) {
	if *update {
		synctest.Test(t, writeGolden)
	}
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	u, err := key.ParseUnsealer(g.Auditor)
	if err != nil {
		t.Fatal(err)
	}
	c, err := VerifyChain(g.TeamFP, g.SessionID, envelope.One(g.Agent), g.Manifests)
	if err != nil {
		t.Fatal(err)
	}
	if got := exported(t, c, &stored{segments: g.Segments}, u); got != g.Cast {
		t.Errorf("got\n%s\nwant\n%s", got, g.Cast)
	}
}

func exported(t *testing.T, c *Chain, from Source, u key.Unsealer) string {
	t.Helper()
	h, err := c.Header(t.Context(), from, u)
	if err != nil {
		t.Fatal(err)
	}
	events, err := collect(t, c, from, u, 1)
	if err != nil {
		t.Fatal(err)
	}
	return string(writeAll(t, h, events, false))
}

func writeGolden(t *testing.T) {
	w := newWorld(t)
	s := &stored{agent: w.agent}
	rec, err := NewWriter(w.config(), s)
	if err != nil {
		t.Fatal(err)
	}
	rec.Mark("shell: allowed by sre-staging")
	fmt.Fprint(rec.Stream(true), "\x1b[32m$\x1b[0m é€😀\r\n")
	time.Sleep(segmentTime + 1500*time.Millisecond)
	rec.Resize(100, 30)
	rec.Exit(0)
	if _, err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := w.chain(s.manifests)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(golden{
		w.teamFP, w.session, w.agent.Public(), w.auditor.SecretText(), s.manifests, s.segments, exported(t, c, s, w.auditor),
	}, "", "  ")
	if err == nil {
		err = os.WriteFile(goldenFile, append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The vectors of SPEC.md are what the code makes.
func TestVectors(t *testing.T) {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("\n    ", "", "\n", "").Replace(string(spec))
	segment := appendChunk([]byte(segmentMagic), []byte("sealed"), 1500*time.Millisecond)
	m := Manifest{TeamFP: envelope.Sum([]byte("team")), SessionID: token.ID{15: 1}, N: 1, SHA256: envelope.Sum(segment), Len: uint64(len(segment)), T1: 1500}
	b, hash, err := SignManifest(key.IdentityFromSeed([32]byte{}), m)
	if err != nil {
		t.Fatal(err)
	}
	u, err := envelope.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string][]byte{"segment": segment, "payload": u.InsecurePayload(), "envelope": b, "hash": hash[:]} {
		if !strings.Contains(text, hex.EncodeToString(v)) {
			t.Errorf("SPEC.md lacks the %s: %x", name, v)
		}
	}
	if all, _, err := chunks(segment); err != nil || len(all) != 1 || !bytes.Equal(all[0].sealed, []byte("sealed")) {
		t.Errorf("%v, %v", all, err)
	}
}
