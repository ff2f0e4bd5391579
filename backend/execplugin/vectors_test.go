package execplugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// A vector is bytes after the first line, and the frames that are in them, or that they
// are refused after these.
type vector struct {
	Name   string   `json:"name"`
	Bytes  string   `json:"bytes"`  // one byte for each of its runes, U+0000 to U+00FF
	Frames []string `json:"frames"` // WORD ID BODY, likewise
	Error  bool     `json:"error"`
}

func latin1(t testing.TB, s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			t.Fatalf("%q has a rune above U+00FF", s)
		}
		b = append(b, byte(r))
	}
	return b
}

func vectors(t testing.TB) (list []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/frames.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &list); err != nil || len(list) < 20 {
		t.Fatalf("%d vectors, %v", len(list), err)
	}
	return list
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			r := bufio.NewReader(bytes.NewReader(latin1(t, v.Bytes)))
			var again []byte
			for i := 0; ; i++ {
				f, err := protocol.ReadFrame(r)
				if err != nil {
					if refused := err != io.EOF; refused != v.Error || i != len(v.Frames) {
						t.Errorf("after %d frames: %v", i, err)
					}
					break
				}
				if i == len(v.Frames) {
					t.Fatalf("one frame more: %+v", f)
				}
				word, rest, _ := strings.Cut(v.Frames[i], " ")
				id, body, _ := strings.Cut(rest, " ")
				if f.Word != word || strconv.FormatUint(uint64(f.ID), 10) != id || !bytes.Equal(f.Body, latin1(t, body)) {
					t.Errorf("frame %d is %+v", i, f)
				}
				again = protocol.AppendFrame(again, f)
			}
			if !v.Error && !bytes.Equal(again, latin1(t, v.Bytes)) {
				t.Errorf("written again: %q", again)
			}
		})
	}
}

// FuzzFrame: what is read can be written, and is the same bytes.
func FuzzFrame(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(latin1(f, v.Bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		r := bufio.NewReader(in)
		var again []byte
		for {
			f, err := protocol.ReadFrame(r)
			if err != nil {
				break
			}
			again = protocol.AppendFrame(again, f)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("%q is written as %q", b, again)
		}
	})
}

// FuzzPlugin has a plugin say anything after its hello: the console's side ends it, or
// goes on, and closes.
func FuzzPlugin(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(latin1(f, v.Bytes))
	}
	f.Add([]byte("opened 1 2\n{}out 1 2\nhiexit 1 10\n{\"code\":3}page 2 24\n{\"targets\":[{\"id\":\"a\"}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		backend, err := scripted(t, func(s *script) {
			s.await("open")
			s.say(string(b))
		})
		if err != nil {
			t.Fatal(err)
		}
		use(t, backend)
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
}

func use(t *testing.T, b backend.Backend) {
	term, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
	if err == nil {
		_, _ = io.Copy(io.Discard, term)
		_, _ = term.Wait()
		_ = term.Close()
	}
	for _, err := range b.Targets(t.Context()) {
		_ = err
	}
}

// FuzzConsole has a console say anything: a plugin in Go ends or goes on, and does not panic.
func FuzzConsole(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(latin1(f, v.Bytes))
	}
	f.Add([]byte("targets 1 2\n{}open 2 48\n{\"target\":\"a\",\"kind\":\"exec\",\"argv\":[\"cat\",\"x\"]}in 2 2\nhieof 2 2\n{}resize 2 2\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := slices.Concat([]byte(protocol.VersionLine), protocol.AppendFrame(nil, protocol.Frame{Word: "hello", Body: []byte(`{"url":"mem:alice"}`)}), b)
		_ = ServeOn(t.Context(), bytes.NewReader(in), discard{}, world(t)) // any error is right
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// world is a driver of the team that testdata/exchange.txt is about.
func world(t testing.TB) backend.Driver {
	t.Helper()
	w, err := mem.NewWorld([]mem.Target{
		{
			Target:  backend.Target{ID: "db-1", Name: "db-1", State: backend.Online, Tags: map[string]string{"env": "prod"}},
			Verdict: backend.Verdict{Effect: backend.Hold, Rule: "db", Line: 3, Reason: "two people", Approvers: "role approver"},
		},
		{Target: backend.Target{ID: "web-1", Name: "web-1", State: backend.Online}, Verdict: backend.Verdict{Effect: backend.Allow, Rule: "web", Line: 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return backend.Driver{Scheme: "example", Doc: "a made-up team", Open: func(_ context.Context, u *url.URL, _ backend.Env) (backend.Backend, error) {
		return w.Backend(u.Opaque), nil
	}}
}

// TestExchange has Serve answer what testdata/exchange.txt says. Frames of the plugin
// that stand together may come in any order; grease is not written there.
func TestExchange(t *testing.T) {
	text, err := os.ReadFile("testdata/exchange.txt")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	p := within(func(in io.Reader, out io.WriteCloser) {
		if err := ServeOn(context.Background(), in, out, world(t)); err != nil {
			t.Error(err)
		}
	})
	r := bufio.NewReader(p)
	var want, got []string
	settle := func() {
		t.Helper()
		for len(got) < len(want) {
			f, err := protocol.ReadFrame(r)
			if err != nil {
				t.Fatalf("%v, where %q is due", err, want)
			}
			if !strings.HasPrefix(f.Word, "grease-") {
				got = append(got, fmt.Sprintf("%s %d %d %s", f.Word, f.ID, len(f.Body), f.Body))
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the plugin says\n%q, not\n%q", got, want)
		}
		want, got = nil, nil
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.Contains(string(spec), "    "+line+"\n") {
			t.Errorf("SPEC.md does not have the line %q", line)
		}
		side, line := line[:2], strings.ReplaceAll(line[2:], `\n`, "\n")
		switch {
		case line+"\n" == protocol.VersionLine && side == "> ":
			_, err = io.WriteString(p, protocol.VersionLine)
		case line+"\n" == protocol.VersionLine:
			first, rerr := r.ReadString('\n')
			if err = rerr; first != protocol.VersionLine {
				t.Fatalf("the first line is %q", first)
			}
		case side == "< ":
			want = append(want, line)
		default:
			settle()
			parts := strings.SplitN(line, " ", 4)
			if n, err := strconv.Atoi(parts[2]); err != nil || n != len(parts[3]) {
				t.Fatalf("%q: its body has %d bytes", line, len(parts[3]))
			}
			_, err = fmt.Fprintf(p, "%s %s %s\n%s", parts[0], parts[1], parts[2], parts[3])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	settle()
	p.end(true)
}
