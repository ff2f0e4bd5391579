package plain

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
)

var update = flag.Bool("update", false, "write testdata anew")

// say is a talk of somebody with a world, as a pipe would have it.
func say(ctx context.Context, t *testing.T, b backend.Backend, who string, lines ...string) string {
	t.Helper()
	var out bytes.Buffer
	err := Run(ctx, b, Options{In: strings.NewReader(strings.Join(lines, "\n") + "\n"), Out: &out, Who: who, Echo: true})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	return out.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	got = regexp.MustCompile(`for approval [A-Z0-9]{26}`).ReplaceAllString(got, "for approval ID") // it is random
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with go test ./tui/plain -update", err)
	}
	if string(want) != got {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// TestTour is the whole tour as it is heard, top to bottom: look around, run
// something, be refused, ask, have it approved by somebody else, decide.
func TestTour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mem.Demo()
		carol := w.Backend("carol")
		if _, err := carol.Ask(t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindShell, Reason: "the backup of last night failed"}); err != nil {
			t.Fatal(err)
		}
		done := make(chan string)
		alice := w.Backend("alice")
		go func() {
			done <- say(t.Context(), t, alice, "alice @ mem",
				"1", "5", "1", "echo hello", "", // list, web-1, a command, back
				"2", "env:prod db", "1", "1", "restart now", "nginx hangs", "30m", "", // held: asked with a reason, for half an hour
				"9", "nonsense", "8")
		}()
		synctest.Wait()
		bob := say(t.Context(), t, w.Backend("bob"), "bob @ mem",
			"3", "2", "2", "", // back without a reason
			"3", "2", "1", "wrong", // high risk is typed
			"3", "2", "1", "db-1", "8")
		golden(t, "alice", <-done)
		golden(t, "bob", bob+say(t.Context(), t, w.Backend("bob"), "bob @ mem", "3", "1", "2", "call me first", ""))
		golden(t, "dora", say(t.Context(), t, w.Backend("dora"), "dora @ mem", "6", "7", "1")) // she hears what alice has done, and her input ends
	})
}

// TestEndOfInput: wherever the input ends, so does the conversation, and nothing
// was decided.
func TestEndOfInput(t *testing.T) {
	lines := []string{"3", "1", "1", "db-1"}
	for n := range len(lines) {
		w := mem.Demo()
		if _, err := w.Backend("carol").Ask(t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindExec, Argv: []string{"restart"}, Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		bob := w.Backend("bob")
		say(t.Context(), t, bob, "bob", lines[:n]...)
		for a := range bob.Pending(t.Context()) {
			if a.State != backend.ApprovalWaiting {
				t.Errorf("after %q the request is %s", lines[:n], a.State)
			}
		}
	}
}

// TestWatch says what changes, until a line.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mem.Demo()
		in, typing := io.Pipe()
		var out bytes.Buffer
		done := make(chan error, 1)
		go func() { done <- Run(t.Context(), w.Backend("bob"), Options{In: in, Out: &out, Who: "bob"}) }()
		fmt.Fprintln(typing, "4")
		synctest.Wait()
		if _, err := w.Backend("carol").Ask(t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindShell, Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * watchEvery)
		fmt.Fprintln(typing)
		typing.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := out.String(); !strings.Contains(s, "carol on db-1: a login shell. State: decide.") || !strings.Contains(s, "Stopped watching.") {
			t.Errorf("said:\n%s", s)
		}
	})
}

// hostile is a backend whose texts would harm a terminal.
type hostile struct{ backend.Backend }

const evil = "\x1b]52;c;AAAA\x07\x1b[2J\u202egnirts\r\n  1. Approve\x9b31m"

func (h hostile) Targets(context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		yield(backend.Target{ID: "1", Name: evil, Tags: map[string]string{evil: evil}}, nil)
	}
}

func (h hostile) Open(context.Context, backend.OpenRequest) (backend.Terminal, error) {
	return nil, errors.New(evil)
}

func TestHostileText(t *testing.T) {
	out := say(t.Context(), t, hostile{mem.Demo().Backend("alice")}, evil, "1", "1", "1", "x", "", "2", evil, evil, "8")
	for _, r := range out {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
			t.Fatalf("%q reaches the terminal in:\n%q", r, out)
		}
	}
	if !utf8.ValidString(out) {
		t.Error("not valid UTF-8")
	}
}

// TestLongLines: neither a line that is typed nor a list has to end.
func TestLongLines(t *testing.T) {
	out := say(t.Context(), t, mem.Demo().Backend("alice"), "alice", strings.Repeat("1", 2*maxLine), "1")
	if !strings.Contains(out, "too long") || len(out) > maxLine {
		t.Errorf("%d bytes", len(out))
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestOutputGone: somebody who listens no more ends it.
func TestOutputGone(t *testing.T) {
	err := Run(t.Context(), mem.Demo().Backend("alice"), Options{In: strings.NewReader(strings.Repeat("1\n\n", 100)), Out: broken{}})
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Run: %v", err)
	}
}

func TestChoice(t *testing.T) {
	for _, tc := range []struct {
		s    string
		most int
		want string
	}{
		{"1", 3, "[1]"},
		{"3,1-2", 3, "[1 2 3]"},
		{" 2 , 2-3 ", 3, "[2 3]"},
		{"ALL", 3, "[1 2 3]"},
		{"0", 3, ""},
		{"4", 3, ""},
		{"2-1", 3, ""},
		{"1-", 3, ""},
		{"-", 3, ""},
		{",", 3, ""},
		{"all", 5000, ""},
		{"1-999999999999", 3, ""},
		{"\x1b[2J", 3, ""},
	} {
		got, err := choice(tc.s, tc.most)
		if (err == nil) != (tc.want != "") || err == nil && fmt.Sprint(got) != tc.want {
			t.Errorf("%q of %d: %v, %v", tc.s, tc.most, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q", err)
		}
	}
}

// manySided is a backend with a shell to come back to.
type manySided struct{ backend.Backend }

func (m manySided) Unwrap() backend.Backend { return m.Backend }

func (m manySided) Sessions(context.Context) ([]backend.Session, error) {
	now := time.Now()
	return []backend.Session{
		{ID: "here", Target: "web-2", Kind: backend.KindShell, Returns: true, Began: now},
		{ID: "away", Target: "web-1", Kind: backend.KindShell, Returns: true, Began: now, Away: now, Until: now.Add(time.Hour)},
	}, nil
}

// Open has the reference backend open what it can't come back to.
func (m manySided) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if req.Session != "away" {
		return nil, fmt.Errorf("%w: %q", backend.ErrNotFound, req.Session)
	}
	req.Session = ""
	return m.Backend.Open(ctx, req)
}

// TestSeveralAndAttach: by numbers one command runs on several targets, and one comes back
// to a shell; neither is offered where it can't be.
func TestSeveralAndAttach(t *testing.T) {
	talk := func(o Options, lines ...string) string {
		t.Helper()
		b := manySided{mem.Demo().Backend("alice")}
		defer b.Close()
		var out bytes.Buffer
		o.In, o.Out, o.Echo = strings.NewReader(strings.Join(lines, "\n")+"\n"), &out, true
		if err := Run(t.Context(), b, o); err != nil {
			t.Error(err)
		}
		return out.String()
	}
	var ran []string
	o := Options{
		Many: func(_ context.Context, ids []backend.TargetID, argv []string, answer func() (string, error), out io.Writer) (int, error) {
			said, err := answer()
			ran = append(ran, fmt.Sprint(ids, argv, said, err))
			return 3, nil
		},
		Attach: func(term backend.Terminal) (backend.Exit, error) { return backend.Exit{Code: 4}, nil },
	}
	got := talk(o, "5", "9", "1,5", "echo hi", "yes", "6", "1", "8")
	for _, want := range []string{`"9" is none of`, "Ended: exit code 3.", "1. web-1, since", "Ended: exit code 4.", "Goodbye."} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "web-2, since") {
		t.Errorf("a shell is offered that somebody is at:\n%s", got)
	}
	if fmt.Sprint(ran) != "[[cache-1 web-1] [echo hi]yes<nil>]" {
		t.Errorf("ran %q", ran)
	}
	got = talk(Options{}, "5", "6", "8")
	if !strings.Contains(got, "one target at a time") || !strings.Contains(got, "this is none") || !strings.Contains(got, "Goodbye.") {
		t.Errorf("without either:\n%s", got)
	}
}

// crowd is a backend with many shells of others.
type crowd struct {
	backend.Backend
	n   int
	err error
}

func (c crowd) Watchable(context.Context) (out []backend.Session, err error) {
	for i := range c.n {
		out = append(out, backend.Session{ID: "5e55", Target: "web-1\x1b[2J", Owner: "alice@example.com", Observe: i > 0, Join: i < 2, Began: time.Unix(0, 0)})
	}
	return out, c.err
}

// TestOthers: others' shells are named with the command that shows them, and no more than
// can be heard.
func TestOthers(t *testing.T) {
	for _, tc := range []struct {
		with crowd
		want []string
	}{
		{crowd{n: pageSize + 3}, []string{"you may watch: 23.", "of alice@example.com", ": tucdesk join 5e55", ": tucdesk observe 5e55\n  To type in it, too: tucdesk join 5e55", "And 3 more: tucdesk ps --all"}},
		{crowd{err: errors.New("away")}, []string{"The list of others' shells did not come: away."}},
		{crowd{}, []string{"knows no shells to come back to"}},
	} {
		tc.with.Backend = mem.Demo().Backend("bob")
		var out bytes.Buffer
		if err := Run(t.Context(), tc.with, Options{In: strings.NewReader("6\n8\n"), Out: &out}); err != nil {
			t.Error(err)
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("it lacks %q:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), "\x1b") || tc.with.n == 0 && strings.Contains(out.String(), "may watch:") {
			t.Errorf("said:\n%s", out.String())
		}
		tc.with.Close()
	}
}
