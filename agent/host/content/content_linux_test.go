package content

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/skiptest"
	"github.com/tucdesk/tucdesk/internal/token"
)

func self(t *testing.T) process.User {
	t.Helper()
	u, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// put writes a file that everybody may read and run.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// program puts a copy of a program of the machine into a file of its own.
func program(t *testing.T, path, of string) string {
	t.Helper()
	b, err := os.ReadFile(of)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, path, string(b))
}

func look(t *testing.T, u process.User, argv []string, words ...uint64) []token.Bound {
	t.Helper()
	bound, err := Look(argv, "/", append([]uint64{0}, words...), u)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

// run starts what was opened and gives what it prints.
func run(t *testing.T, files *Files, u process.User, afterStart func()) string {
	t.Helper()
	s := process.Spec{Dir: "/", Stdin: true}
	files.Apply(&s)
	p, err := process.Start(s, u)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := files.Started(); err != nil {
		t.Fatal(err)
	}
	files.Close()
	if afterStart != nil {
		afterStart()
	}
	p.Stdin.Close()
	go io.Copy(io.Discard, p.Stderr)
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What runs is what was looked at, whatever the files become meanwhile.
func TestRunsWhatWasApproved(t *testing.T) {
	u := self(t)
	dir := t.TempDir()
	evil := "#!/bin/sh\necho evil\n"
	for _, tc := range []struct {
		name  string
		argv  func(at string) []string
		file  string
		words []uint64
		want  string
	}{
		{"a program", func(at string) []string { return []string{program(t, at, "/bin/echo"), "good"} }, "", nil, "good\n"},
		{"a script, read on while it runs", func(at string) []string {
			return []string{put(t, at, "#!/bin/sh\nread x\necho good $1\n"), "word"}
		}, "", nil, "good word\n"},
		{"a file that a word names", func(at string) []string {
			return []string{"sh", put(t, at, "read x\necho good $1\n"), "word"}
		}, "", []uint64{1}, "good word\n"},
		{"a relative word", func(at string) []string {
			return []string{"cat", strings.TrimPrefix(put(t, at, "good\n"), "/")}
		}, "", []uint64{1}, "good\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := filepath.Join(dir, strings.ReplaceAll(tc.name, " ", "-"))
			argv := tc.argv(at)
			bound := look(t, u, argv, tc.words...)
			files, err := Open(argv, "/", bound, u)
			if err != nil {
				t.Fatal(err)
			}
			// Another file under the name, before it starts: what is open counts.
			if err := os.Rename(at, at+".old"); err != nil {
				t.Fatal(err)
			}
			put(t, at, evil)
			got := run(t, files, u, func() {
				if tc.argv(at + ".again")[0] != argv[0] && bound[0].Path == at {
					return
				}
				put(t, at+".old", evil) // the very file, too, unless it is a program that runs
			})
			if got != tc.want {
				t.Errorf("it printed %q, want %q", got, tc.want)
			}
			if _, err := Open(argv, "/", bound, u); !errors.Is(err, ErrChanged) {
				t.Errorf("another file under the name: %v", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	u := self(t)
	dir := t.TempDir()
	echo := program(t, filepath.Join(dir, "echo"), "/bin/echo")
	data := put(t, filepath.Join(dir, "data"), "data")
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o755); err != nil {
		t.Fatal(err)
	}
	argv := []string{echo, data}
	good := look(t, u, argv, 1)
	change := func(f func(b []token.Bound) []token.Bound) []token.Bound { return f(slices.Clone(good)) }
	for name, tc := range map[string]struct {
		argv  []string
		dir   string
		bound []token.Bound
		want  error
	}{
		"another hash of the program": {argv, "/", change(func(b []token.Bound) []token.Bound { b[0].Hash[0] ^= 1; return b }), ErrChanged},
		"another hash of a file":      {argv, "/", change(func(b []token.Bound) []token.Bound { b[1].Hash[31] ^= 1; return b }), ErrChanged},
		"another path":                {argv, "/", change(func(b []token.Bound) []token.Bound { b[1].Path += "x"; return b }), ErrChanged},
		"another program":             {[]string{"echo", data}, "/", good, ErrChanged},
		"a file without the program":  {argv, "/", good[1:], ErrChanged},
		"a word that is not there":    {argv[:1], "/", good, ErrUnreadable},
		"no such program":             {[]string{dir + "/none", data}, "/", good, process.ErrNoProgram},
		"no such folder":              {argv, dir + "/none", good, process.ErrNoDir},
	} {
		files, err := Open(tc.argv, tc.dir, tc.bound, u)
		if files != nil || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error names a file: %v", name, err)
		}
	}
	for name, word := range map[string]string{"a pipe": pipe, "a folder": dir, "a device": "/dev/zero", "nothing": dir + "/none"} {
		if _, err := Look([]string{"cat", word}, "/", []uint64{1}, u); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Look([]string{"cat"}, "/", make([]uint64, token.MaxBound+1), u); err == nil {
		t.Error("looked at too many")
	}
}

// Between the comparison and the start a program's file can be written in place: then
// it is not run, or killed before anybody has seen a byte of it.
func TestWrittenBeforeTheStart(t *testing.T) {
	u := self(t)
	at := program(t, filepath.Join(t.TempDir(), "echo"), "/bin/echo")
	argv := []string{at, "x"}
	files, err := Open(argv, "/", look(t, u, argv), u)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if !files.lease {
		t.Log("no lease here: the file's state must do")
	}
	f, err := os.OpenFile(at, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if files.lease != errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatalf("opened for writing under a lease: %v", err)
	}
	if err == nil {
		f.WriteString("evil")
		f.Close()
	}
	if err := files.Started(); !errors.Is(err, ErrChanged) {
		t.Errorf("after somebody wanted to write: %v", err)
	}
}

// Files are opened with the rights of who runs the command: nobody learns through an
// agent what they may not read.
func TestRightsOfTheUser(t *testing.T) {
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "needs root: run the tests as root")
	}
	u, err := process.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "content")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := put(t, filepath.Join(dir, "secret"), "secret")
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Look([]string{"cat", secret}, "/", []uint64{1}, u); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a file of root's: %v", err)
	}
	// The agent's own threads keep its rights.
	if _, err := os.ReadFile(secret); err != nil {
		t.Error(err)
	}
	script := put(t, filepath.Join(dir, "script"), "#!/bin/sh\nid -un\n")
	argv := []string{script}
	files, err := Open(argv, "/", look(t, u, argv), u)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, files, u, nil); got != "nobody\n" {
		t.Errorf("it ran as %q", got)
	}
}

// What a start that waits would load is read once more: it is the very file, with what
// was in it, or an error.
func TestHeldFile(t *testing.T) {
	u := self(t)
	dir := t.TempDir()
	held := func(path string) Held {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := stateOf(f)
		if err != nil {
			t.Fatal(err)
		}
		return Held{Path: path, Dev: st.dev, Ino: st.ino, Size: st.size, Changed: st.changed.Nano()}
	}
	path := put(t, filepath.Join(dir, "a"), "what is in it")
	good := held(path)
	if sum, err := good.Sum(t.Context(), u); err != nil || sum != envelope.Sum([]byte("what is in it")) {
		t.Fatalf("%v %v", sum, err)
	}
	put(t, filepath.Join(dir, "b"), "what is in it")
	elsewhere := held(filepath.Join(dir, "b"))
	elsewhere.Path = path
	relative, longer, earlier, nameless := good, good, good, good
	relative.Path, nameless.Path = "a", ""
	longer.Size++
	earlier.Changed--
	large := filepath.Join(dir, "large")
	put(t, large, "")
	if err := os.Truncate(large, maxHeld+1); err != nil {
		t.Fatal(err)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	for name, tc := range map[string]struct {
		ctx  context.Context
		held Held
		want error
	}{
		"another file of the name": {t.Context(), elsewhere, ErrChanged},
		"another size":             {t.Context(), longer, ErrChanged},
		"written to since":         {t.Context(), earlier, ErrChanged},
		"a relative name":          {t.Context(), relative, ErrUnreadable},
		"no name":                  {t.Context(), nameless, ErrUnreadable},
		"a file that is too large": {t.Context(), held(large), ErrUnreadable},
		"nobody waits":             {over, good, ErrUnreadable},
	} {
		if sum, err := tc.held.Sum(tc.ctx, u); !errors.Is(err, tc.want) || !sum.IsZero() {
			t.Errorf("%s: %v %v", name, sum, err)
		} else if strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error names a file: %v", name, err)
		}
	}
	put(t, path, "something else")
	if _, err := good.Sum(t.Context(), u); !errors.Is(err, ErrChanged) {
		t.Errorf("rewritten: %v", err)
	}
}
