package errand

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/filecopy"
)

// nothing is a stream that nobody needs.
type nothing struct{ io.Writer }

func (nothing) Close() error { return nil }

func do(t *testing.T, home string, in []byte, words ...string) (out []byte, err error) {
	t.Helper()
	var b bytes.Buffer
	err = run(t.Context(), words[0], words[1:], home, bytes.NewReader(in), nothing{&b}, io.Discard)
	return b.Bytes(), err
}

func TestCopiesOfAHome(t *testing.T) {
	home := t.TempDir()
	os.WriteFile(filepath.Join(home, "a"), []byte("a"), 0o600)
	real := filepath.Join(t.TempDir(), "home") // a home that is a link is still the home
	os.Symlink(home, real)
	stream, err := do(t, real, nil, "copy", "from", "~/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, real, stream, "copy", "to", "~/b"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(home, "b")); string(b) != "a" {
		t.Fatalf("%q", b)
	}
	tree, err := do(t, home, nil, "copy", "from", "-r", "~")
	if err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"copy from ~":              "say -r",
		"copy to ~":                "is a directory",
		"copy to ~/none/b":         "no such file",
		"copy from ~/../etc":       "neither . nor ..",
		"copy from " + real + "/a": "symbolic link",
		"copy to ~/c ":             "from|to",
		"shell x":                  "there is none",
		"forward x":                "HOST:PORT",
	} {
		if _, err := do(t, home, stream, strings.Split(words, " ")...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
	if _, err := do(t, home, tree, "copy", "to", "~/c"); !errors.Is(err, filecopy.ErrTree) {
		t.Errorf("a tree where a file was allowed: %v", err)
	}
	if _, err := do(t, "", nil, "copy", "from", "~/a"); err == nil {
		t.Error("a user without a home has one")
	}
}

// A copy that is ended leaves nothing behind.
func TestEnded(t *testing.T) {
	home := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, "copy", []string{"to", "~/a"}, home, in, nothing{io.Discard}, io.Discard) }()
	io.WriteString(out, "TDC1\x02\x01\xa4\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10half")
	cancel()
	if err := <-done; !errors.Is(err, errEnded) {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(home); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCheck(t *testing.T) {
	for what, m := range map[string]channel.OpenMessage{
		"a terminal":      {Kind: "copy", Argv: []string{"from", "/a"}, TTY: &channel.TTY{}},
		"a directory":     {Kind: "copy", Argv: []string{"from", "/a"}, Cwd: "/"},
		"an environment":  {Kind: "forward", Argv: []string{"a:1"}, Env: [][2]string{{"A", "b"}}},
		"no words":        {Kind: "proxy"},
		"another's words": {Kind: "copy", Argv: []string{"a:1"}},
	} {
		if Check(m) == nil {
			t.Errorf("%s was taken", what)
		}
		if _, err := New(m); err == nil {
			t.Errorf("%s is watched", what)
		}
	}
	if w, err := New(channel.OpenMessage{Kind: "exec", Argv: []string{"ls"}}); w != nil || err != nil {
		t.Error("an exec is watched")
	}
	if _, err := Spec(channel.OpenMessage{Kind: "copy", Argv: []string{"from", "/a"}}, nil); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func watch(t *testing.T, kind string, words ...string) (*Watch, *bool) {
	t.Helper()
	w, err := New(channel.OpenMessage{Kind: kind, Argv: words})
	if err != nil {
		t.Fatal(err)
	}
	killed := new(bool)
	w.kill = func() { *killed = true }
	return w, killed
}

// What a watch does not know as what was allowed does not pass, and ends the process.
func TestWatch(t *testing.T) {
	file := []byte("TDC1\x02\x01\xa4\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, test := range []struct {
		what, kind, words string
		bytes             []byte
		inward            bool
		why, passed       string
	}{
		{"a file from here", "copy", "from /a", file, false, "", "1 files and directories, 0 bytes"},
		{"a file to here", "copy", "to /a", file, true, "", "1 files and directories, 0 bytes"},
		{"the wrong way", "copy", "from /a", file, true, "direction", "not whole"},
		{"the wrong way back", "copy", "to /a", file, false, "direction", "not whole"},
		{"no copy", "copy", "to /a", []byte("root:x:0"), true, "not a copy", "not whole"},
		{"a part", "copy", "from /a", file[:30], false, "", "not whole"},
		{"a tree for a file", "copy", "to /a", []byte("TDC1\x01\x01\xed\x00\x00\x03"), true, "directory", "not whole"},
		{"a forward", "forward", "a:1", []byte("\x01GET /"), true, "", "5 bytes out, 0 bytes in"},
		{"ssh", "forward", "a:1", []byte("\x01SSH-2.0-x"), true, "speaks SSH", ""},
		{"sshd", "forward", "a:1", []byte("\x00SSH-2.0-x"), false, "speaks SSH", ""},
		{"a proxy", "proxy", "a:1", []byte("\x00SSH-2.0-x"), false, "", "0 bytes out, 9 bytes in"},
	} {
		w, killed := watch(t, test.kind, strings.Fields(test.words)...)
		err := w.take(test.bytes, test.inward)
		why, passed, report := w.Ended()
		if *killed != (test.why != "") || test.why != "" && err == nil || !strings.Contains(why, test.why) || !strings.Contains(passed, test.passed) {
			t.Errorf("%s: killed %t, %v, why %q, passed %q", test.what, *killed, err, why, passed)
		}
		if _, err := filecopy.ParseReport(report); (err == nil) != (test.kind == "copy") {
			t.Errorf("%s: the report: %v", test.what, err)
		}
		if test.why != "" && w.take([]byte("more"), test.inward) == nil {
			t.Errorf("%s: more passed", test.what)
		}
	}
	var none *Watch
	none.Attach(nil)
	if why, passed, report := none.Ended(); why+passed != "" || report != nil || none.Halves() {
		t.Error("what is not watched has something to say")
	}
}
