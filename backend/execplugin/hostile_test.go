package execplugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
)

// A script is a plugin that has said hello, and then does what a test wants.
type script struct {
	in  *bufio.Reader
	out io.WriteCloser
}

// scripted runs a plugin that declares everything.
func scripted(t *testing.T, then func(*script)) (backend.Backend, error) {
	t.Helper()
	return connect(t.Context(), "/plugin", within(func(in io.Reader, out io.WriteCloser) {
		s := &script{bufio.NewReader(in), out}
		if _, err := s.in.ReadString('\n'); err != nil {
			return
		}
		s.say(protocol.VersionLine)
		s.await("hello")
		s.send("hello", 0, `{"capabilities":["eof","signal","evaluate","approve","ask","watch","later"]}`)
		then(s)
	}), &url.URL{Scheme: "x"}, "")
}

func (s *script) say(text string) { _, _ = io.WriteString(s.out, text) } // an end is seen when reading

func (s *script) send(word string, id uint32, body string) {
	s.say(string(protocol.AppendFrame(nil, protocol.Frame{Word: word, ID: id, Body: []byte(body)})))
}

// await skips to a frame; at the end of the connection it gives none.
func (s *script) await(word string) protocol.Frame {
	for {
		f, err := protocol.ReadFrame(s.in)
		if err != nil || f.Word == word {
			return f
		}
	}
}

// opens answers the next open.
func (s *script) opens() uint32 {
	f := s.await("open")
	s.send("opened", f.ID, `{"stderr":true}`)
	return f.ID
}

// TestHostilePlugins has plugins break each rule that could hurt the console. Each ends the
// plugin, and everything that was open ends with an error that says which rule.
func TestHostilePlugins(t *testing.T) {
	long := strings.Repeat("x", protocol.MaxBody)
	for name, tc := range map[string]struct {
		plugin func(*script)
		want   string
	}{
		"dies":              {func(s *script) { s.opens() }, "the goroutine returned"},
		"dies in a frame":   {func(s *script) { s.say(fmt.Sprintf("out %d 9\nx", s.opens())) }, "the goroutine returned"},
		"garbage":           {func(s *script) { s.opens(); s.say("\x1b[2J hello\n"); s.await("") }, "not a frame"},
		"a long header":     {func(s *script) { s.opens(); s.say(long); s.await("") }, "not a frame"},
		"a long body":       {func(s *script) { s.say(fmt.Sprintf("out %d 1048577\n", s.opens())); s.await("") }, "not a frame"},
		"no JSON":           {func(s *script) { s.send("exit", s.opens(), "\x1b[2J"); s.await("") }, "body of"},
		"floods":            {func(s *script) { s.send("out", s.opens(), long); s.await("") }, "where it may send 262144"},
		"floods stderr":     {func(s *script) { s.send("err", s.opens(), long); s.await("") }, "where it may send 262144"},
		"credit from air":   {func(s *script) { s.send("more", s.opens(), `{"in":1}`); s.await("") }, "was not given"},
		"negative credit":   {func(s *script) { s.send("more", s.opens(), `{"in":-5}`); s.await("") }, "was not given"},
		"overflowed credit": {func(s *script) { s.send("more", s.opens(), `{"in":9223372036854775807}`); s.await("") }, "was not given"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := scripted(t, tc.plugin)
			if err != nil {
				t.Fatal(err)
			}
			term, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindExec, Argv: []string{"cat"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = term.Wait()
			var ended *EndedError
			if !errors.As(err, &ended) || !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(ended.Why, tc.want) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("Wait: %q, want it to say %q", err, tc.want)
			}
			if _, err := io.Copy(io.Discard, term); err != nil {
				t.Errorf("reading: %v", err)
			}
			if _, err := term.Write([]byte("x")); err == nil {
				t.Error("Write succeeded")
			}
			if err := term.Resize(1, 1); err != nil {
				t.Error(err)
			}
			if _, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell}); !errors.As(err, &ended) {
				t.Errorf("Open afterwards: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWrongAnswers has plugins answer what makes no sense. Only the call fails.
func TestWrongAnswers(t *testing.T) {
	list := func(b backend.Backend) (err error) {
		for _, err = range b.Targets(t.Context()) {
		}
		return err
	}
	verdict := func(b backend.Backend) error {
		ev, _ := backend.As[backend.Evaluator](b)
		v, err := ev.Evaluate(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
		if err == nil {
			err = v.Err()
		}
		return err
	}
	ask := func(b backend.Backend) error {
		a, _ := backend.As[backend.Asker](b)
		_, err := a.Ask(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
		return err
	}
	open := func(b backend.Backend) error {
		_, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
		return err
	}
	for name, tc := range map[string]struct {
		request, answer, body string
		call                  func(backend.Backend) error
		want                  string
	}{
		"another word":     {"targets", "asked", `{}`, list, `answers "asked"`},
		"no object":        {"targets", "page", `[]`, list, "body of"},
		"no ID":            {"targets", "page", `{"targets":[{}]}`, list, "0 bytes"},
		"a long ID":        {"targets", "page", `{"targets":[{"id":"` + strings.Repeat("x", 1025) + `"}]}`, list, "1025 bytes"},
		"not sorted":       {"targets", "page", `{"targets":[{"id":"b"},{"id":"a\u001b"}]}`, list, "target a⟨ESC⟩ after b"},
		"twice":            {"targets", "page", `{"targets":[{"id":"b"},{"id":"b"}]}`, list, "must ascend"},
		"empty and more":   {"targets", "page", `{"more":true}`, list, "empty page"},
		"few verdicts":     {"evaluate", "verdicts", `{}`, verdict, "0 verdicts for 1"},
		"an odd effect":    {"evaluate", "verdicts", `{"verdicts":[{"effect":"ALLOW"}]}`, verdict, "denied"},
		"unknown, allowed": {"evaluate", "verdicts", `{"verdicts":[{"effect":"allow","unknown":true}]}`, verdict, "not found"},
		"no approval":      {"ask", "asked", `{}`, ask, "0 bytes"},
		"an odd error":     {"open", "error", `{"kind":"fine","text":"\u001b[2J"}`, open, "⟨ESC⟩[2J"},
		"held, says allow": {"open", "error", `{"kind":"held","verdict":{"effect":"allow","rule":"r"}}`, open, `held for approval by rule "r"`},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := scripted(t, func(s *script) {
				f := s.await(tc.request)
				s.send(tc.answer, f.ID, tc.body)
				s.send("page", s.await("targets").ID, `{"targets":[{"id":"a","later":1}]}`)
				s.await("")
			})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if err := tc.call(b); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if err := list(b); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestSilence has plugins that say nothing, at each place, in simulated time.
func TestSilence(t *testing.T) {
	t.Run("no hello", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			_, err := connect(t.Context(), "/plugin", within(func(in io.Reader, _ io.WriteCloser) { _, _ = io.Copy(io.Discard, in) }), new(url.URL), "")
			var ended *EndedError
			if took := time.Since(began); !errors.As(err, &ended) || took != helloLimit {
				t.Errorf("%v after %s", err, took)
			}
		})
	})
	t.Run("it hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, err := scripted(t, func(s *script) {
				s.opens()
				_, _ = io.Copy(io.Discard, s.in)
			})
			if err != nil {
				t.Fatal(err)
			}
			term, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = term.Wait()
			if took := time.Since(began); !errors.Is(err, backend.ErrUnavailable) || took > silentLimit+pingEvery {
				t.Errorf("%v after %s", err, took)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("it does not answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, err := scripted(t, func(s *script) {
				for s.await("ping").Word == "ping" {
					s.send("pong", 0, "{}")
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
			if took := time.Since(began); !errors.Is(err, backend.ErrUnavailable) || took != answerLimit {
				t.Errorf("Open: %v after %s", err, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			asker, _ := backend.As[backend.Asker](b)
			if err := asker.Await(ctx, "id"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Await: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	// A plugin that does not read is noticed like one that does not speak, and meanwhile
	// only Write waits.
	t.Run("it does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, err := scripted(t, func(s *script) {
				s.opens()
				time.Sleep(time.Hour)
			})
			if err != nil {
				t.Fatal(err)
			}
			term, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := term.Write(make([]byte, 1<<20)); err == nil {
				t.Errorf("it took %d bytes", n)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestLateOpen has a terminal come when nobody waits for it any more: it is closed.
func TestLateOpen(t *testing.T) {
	asked, closed := make(chan struct{}), make(chan struct{})
	b, err := scripted(t, func(s *script) {
		f := s.await("open")
		close(asked)
		if c := s.await("cancel"); c.ID == f.ID {
			s.send("opened", f.ID, "{}")
		}
		if c := s.await("close"); c.ID == f.ID {
			close(closed)
		}
		s.await("")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := b.Open(ctx, backend.OpenRequest{Target: "a", Kind: backend.KindShell}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	<-closed
}

// TestManyPages lists more than one page holds, and stops within.
func TestManyPages(t *testing.T) {
	b, err := scripted(t, func(s *script) {
		for {
			f := s.await("targets")
			for n := range 3 {
				s.send("page", f.ID, fmt.Sprintf(`{"targets":[{"id":"%d"}],"more":%v}`, n, n < 2))
				if n < 2 {
					if f, err := protocol.ReadFrame(s.in); err != nil || f.Word == "cancel" {
						break
					}
				}
			}
			if f.Word == "" {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, stop := range []int{1, 2, 3, 4} {
		n := 0
		for target, err := range b.Targets(t.Context()) {
			if err != nil || target.Detail["plugin"] != "/plugin" {
				t.Fatalf("%+v, %v", target, err)
			}
			if n++; n == stop {
				break
			}
		}
		if n != min(stop, 3) {
			t.Errorf("%d targets where it was to stop after %d", n, stop)
		}
	}
}

// TestProcess looks at what a plugin's process is given, and what is shown of what it says.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, prefix+"odd")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(at, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":relative:"+os.Getenv("PATH"))
	t.Setenv("TUCDESK_SECRET", "hunter2")
	var log strings.Builder
	open := func() error {
		p, err := Look("odd")
		if err != nil {
			return err
		}
		b, err := Driver(p).Open(t.Context(), &url.URL{Scheme: "odd"}, backend.Env{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			b.Close()
		}
		return err
	}
	if err := open(); !errors.Is(err, ErrNoPlugin) {
		t.Errorf("no file: %v", err)
	}
	for text, want := range map[string]string{
		"echo \"$1 $(env | grep -c ^TUCDESK_)\" >&2": "it said last: --tucdesk-backend 0",
		"printf 'a\\033[2Jb\\n' >&2; exit 3":         "exit status 3; it said last: a⟨ESC⟩[2Jb",
		"echo Hello from a program of another kind":  "is no backend",
		"kill -9 $$":                "killed",
		"yes | head -c 1000000 >&2": "it said last: y / y / y / y",
		"(sleep 100 & )":            "exit status 0", // what it leaves behind has its output
	} {
		write(text)
		err := open()
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 6000 {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if n := strings.Count(log.String(), "\n"); n > 2*maxLogged || strings.ContainsRune(log.String(), 0x1b) || strings.Contains(log.String(), "hunter2") {
		t.Errorf("%d lines are logged", n)
	}
	if got := Find(); len(got) != 1 || got[0] != (Plugin{"odd", at}) {
		t.Errorf("Find = %v", got)
	}
	for _, name := range []string{"Odd", "a b", ""} {
		if err := os.WriteFile(filepath.Join(dir, prefix+name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got := Find(); len(got) != 1 {
		t.Errorf("Find = %v", got)
	}
	if _, err := Look(filepath.Join(dir, prefix+"Odd")); !errors.Is(err, ErrNoPlugin) {
		t.Errorf("a name that is no scheme: %v", err)
	}
}
