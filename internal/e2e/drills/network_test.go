package drills

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// networkDrills are those of whoever stands where the agent's network half
// stands: every offer and every datagram passes there, in both directions.
func networkDrills() []*drill {
	return []*drill{
		{
			part: malNetwork, name: "read", promise: "no server and no network reads a byte of a terminal, a command, an input or a reason",
			attack: "keeps all that passes the rendezvous, the relay and apid, and all that apid has on disk, and looks for what operators typed and read",
			shows:  "nothing of it",
			check: check{
				file: "backend/control/approve.go", in: "(*Backend).Ask",
				old: "sealed, err := key.Seal(signed, readers...)", new: "_ = readers\n\tsealed, err := signed, error(nil)",
				then: "a held command and its reason stand in apid's database",
			},
			play: func(w *world) string {
				alice := w.as("alice")
				var words []string
				for _, what := range []string{"argument", "input", "held"} {
					words = append(words, "canary-"+what+"-"+token.NewID().String())
				}
				t, err := alice.open("web-1", []string{"sh", "-c", "cat; echo $((41*2+1))" + words[0]}, "")
				w.must(err)
				io.WriteString(t, words[1])
				half, _ := backend.TerminalAs[backend.HalfCloser](t)
				w.must(half.CloseWrite())
				out, err := io.ReadAll(t)
				w.must(err)
				t.Close()
				if want := words[1] + "83" + words[0] + "\n"; string(out) != want {
					w.t.Fatalf("the terminal shows %q, want %q", out, want)
				}
				c := filepath.Join(w.t.TempDir(), words[2])
				id := alice.ask("web-1", []string{"touch", c})
				w.must(w.as("bob").decide(id))
				w.must(alice.await(id))
				_, err = alice.use("web-1", []string{"touch", c}, id)
				w.must(err)
				w.settle()
				w.must(w.store.Close())
				disk, err := os.ReadFile(w.database)
				w.must(err)
				w.openAPI()
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.seen.Len() < 20_000 {
					w.t.Fatalf("only %d bytes have passed: the attacker looks at the wrong place", w.seen.Len())
				}
				found := 0
				for _, word := range append(words, "83"+words[0], "a drill") {
					for _, form := range [][]byte{[]byte(word), []byte(hex.EncodeToString([]byte(word))), []byte(base64.StdEncoding.EncodeToString([]byte(word)))[:8]} {
						// JSON carries bytes in base64: look into it as well.
						for where, b := range map[string][]byte{"what has passed": w.seen.Bytes(), "the database": disk, "base64 that has passed": inside(w.seen.Bytes())} {
							if len(form) > 7 && bytes.Contains(b, form) {
								found++
								w.t.Errorf("MUST NOT HAPPEN: %s holds %q", where, form)
							}
						}
					}
				}
				if found > 0 {
					return "some of it"
				}
				return "nothing of it"
			},
		},
		{
			part: malNetwork, name: "replay offers", promise: "what was granted once starts once",
			attack: "gives the session half every offer and every handshake message that it has seen, again and in other orders",
			shows:  "used: this session was used before",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).admit",
				old: "if err := c.used.Check(c.sessionItem(a)); err != nil {", new: "if err := c.used.Check(c.sessionItem(a)); false && err != nil {",
				then: "the offers are answered; no recorded end fits, and nothing runs",
			},
			play: func(w *world) string {
				m := w.machines["web-1"]
				first, second := w.canary(1), w.canary(1)
				alice := w.as("alice")
				for _, c := range []canary{first, second} {
					_, err := alice.run("web-1", c.low())
					w.must(err)
				}
				w.until("both sessions end", func() bool { return strings.Count(m.logs.String(), "session ended") == 2 })
				w.meet.mu.Lock()
				offers, ends := w.meet.offers, w.meet.ends
				w.meet.mu.Unlock()
				said := ""
				for i := range offers {
					w.meet.finish(m, ends[i])
					_, err := w.meet.offer(m, signal(offers[i]))
					said = w.said(err)
					w.meet.finish(m, finish{offers[i].SessionID, ends[1-i].hs3})
					w.meet.finish(m, finish{ends[1-i].id, ends[i].hs3})
				}
				return said
			},
		},
		{
			part: malNetwork, name: "exchange offers", promise: "an offer is for the session that its operator has signed",
			attack: "presents the sealed bundle of one session as the offer of another",
			shows:  "proof: it is expired or not for this request",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).admit",
				old: "if p.SessionID != o.SessionID {", new: "if false && p.SessionID != o.SessionID {",
				then: "the relay's credential, which names the session, does not fit",
			},
			play: func(w *world) string {
				w.meet.route = func(o *wire.Offer) (wire.OfferAnswer, bool, error) {
					other := signal(*o)
					other.SessionID = token.NewID()
					out, err := w.meet.offer(w.machines["web-1"], other)
					return out, true, err
				}
				_, err := w.as("alice").run("web-1", w.canary(0).low())
				return w.said(err)
			},
		},
		{
			part: malNetwork, name: "invent offers", promise: "nothing starts that no operator has asked for",
			attack: "changes each part of a true offer, a bit at a time, and invents others",
			shows:  "nothing has started",
			check:  check{inherent: "the bundle is sealed and the handshake authenticated: there is no check to leave out, only cryptography to break"},
			play: func(w *world) string {
				m := w.machines["web-1"]
				var tried int
				w.meet.route = func(o *wire.Offer) (wire.OfferAnswer, bool, error) {
					var err error
					for i := range 24 {
						bad := signal(*o)
						bad.Sealed = bytes.Clone(o.Sealed)
						bad.Sealed[i*len(bad.Sealed)/24] ^= 1 << (i % 8)
						if _, err = w.meet.offer(m, bad); err == nil {
							w.t.Errorf("a changed bundle (%d) was answered", i)
						}
						tried++
					}
					invented := signal(*o)
					invented.SessionID, invented.Sealed = token.NewID(), bytes.Repeat([]byte("x"), 4096)
					if _, err = w.meet.offer(m, invented); err == nil {
						w.t.Error("an invented bundle was answered")
					}
					return wire.OfferAnswer{}, true, err
				}
				_, err := w.as("alice").run("web-1", w.canary(0).low())
				w.said(err)
				if tried != 24 || strings.Contains(m.logs.String(), "session-start") || strings.Contains(m.logs.String(), "msg=session ") {
					return "something has started"
				}
				return "nothing has started"
			},
		},
		{
			part: malNetwork, name: "change datagrams", promise: "what a program reads is what its operator sent: once, whole and in order",
			attack: "sends each datagram of a session twice, some of them late, and some with a bit changed",
			shows:  "exactly what was sent",
			check:  check{inherent: "records are authenticated and numbered, and the transport inside them numbers again: each of the two holds alone"},
			play: func(w *world) string {
				c := w.canary(20)
				alice := w.as("alice")
				t, err := alice.open("web-1", []string{"sh", "-c", "cat >> " + c.path}, "")
				w.must(err)
				defer t.Close()
				w.mischief()
				var sent strings.Builder
				for i := range 20 {
					fmt.Fprintf(&sent, "line %d %s\n", i, strings.Repeat("x", 200*i))
				}
				_, err = io.WriteString(t, sent.String())
				w.must(err)
				half, _ := backend.TerminalAs[backend.HalfCloser](t)
				w.must(half.CloseWrite())
				io.Copy(io.Discard, t)
				if _, err := t.Wait(); err != nil {
					return "the session ended: " + err.Error()
				}
				got, err := os.ReadFile(c.path)
				w.must(err)
				if string(got) != sent.String() {
					w.t.Errorf("MUST NOT HAPPEN: the program read %d bytes, sent were %d", len(got), sent.Len())
				}
				return "exactly what was sent"
			},
		},
	}
}

// mischief has the relay send datagrams twice, late and changed.
func (w *world) mischief() {
	var mu sync.Mutex
	var n int
	var kept [][]byte
	w.mu.Lock()
	defer w.mu.Unlock()
	w.datagrams = func(b []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		n++
		out := [][]byte{b, b}
		if kept = append(kept, b); len(kept) > 8 {
			out = append(out, kept[0])
			kept = kept[1:]
		}
		if n%5 == 0 {
			bad := bytes.Clone(b)
			bad[len(bad)-1-n%min(len(bad), 40)] ^= 1 << (n % 8)
			out = append([][]byte{bad}, out...)
		}
		return out
	}
}

// inside decodes the runs of base64 in what has passed.
func inside(b []byte) []byte {
	var out bytes.Buffer
	for _, run := range bytes.FieldsFunc(b, func(r rune) bool {
		return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '-' || r == '_')
	}) {
		if len(run) < 64 {
			continue
		}
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if plain, err := e.DecodeString(string(run)); err == nil {
				out.Write(plain)
			}
		}
	}
	return out.Bytes()
}
