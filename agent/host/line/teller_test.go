package line

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// TestTeller types into true shells of a person who has settings of their own.
func TestTeller(t *testing.T) {
	for _, tc := range []struct{ shell, settings string }{
		{"bash", "HISTCONTROL=ignoreboth\nPS1='ready> '\n"},
		{"zsh", "PS1='ready> '; setopt hist_ignore_space; unsetopt zle\n"},
	} {
		t.Run(tc.shell, func(t *testing.T) {
			t.Parallel()
			shell, err := exec.LookPath(tc.shell)
			if err != nil {
				skiptest.Missing(t, "%s is missing; install it: apt-get install %s", tc.shell, tc.shell)
			}
			home := t.TempDir()
			for _, name := range []string{".bash_profile", ".zshrc"} {
				if err := os.WriteFile(filepath.Join(home, name), []byte(tc.settings), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(home, ".bash_history"), []byte("rm of yesterday\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			teller, err := newTeller(shell, func(string) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			me, err := process.Self()
			if err != nil {
				t.Fatal(err)
			}
			p, err := process.Start(process.Spec{
				Argv: []string{shell, "-il"}, Dir: "/", TTY: &process.TTY{Size: process.Size{Cols: 200, Rows: 50}, Term: "dumb"},
				Env: append(teller.Env, [2]string{"HOME", home}, [2]string{"HISTFILE", filepath.Join(home, ".bash_history")}),
			}, me)
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, p.Stdout)
			type told struct {
				Line
				err error
			}
			lines := make(chan told, 10)
			go func() {
				defer close(lines)
				for {
					l, err := teller.Next()
					lines <- told{l, err}
					if err != nil {
						return
					}
				}
			}()
			for _, typed := range []string{" ls hidden", "rm -f a", "cd /tmp", "echo $HOME | cat", "for i in 1 2", "do true", "done", "exec true"} {
				if _, err := io.WriteString(p.Stdin, typed+"\n"); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for len(got) == 0 || got[len(got)-1] != "/tmp: exec true" {
				select {
				case l, ok := <-lines:
					if !ok || l.err != nil {
						t.Fatalf("after %q: %v", got, l.err)
					}
					got = append(got, l.Cwd+": "+strings.ReplaceAll(strings.Join(l.Argv, " "), "\n", "; "))
				case <-time.After(time.Minute):
					t.Fatalf("no more came after %q", got)
				}
			}
			p.Close()
			want := "/: rm -f a|/: cd /tmp|/tmp: sh -c echo $HOME | cat|/tmp: sh -c for i in 1 2; do true; done|/tmp: exec true"
			if tc.shell == "zsh" { // it tells what its history leaves out, too
				want = "/: ls hidden|" + want
			}
			if all := strings.Join(got, "|"); all != want {
				t.Errorf("told\n%s, want\n%s", all, want)
			}
			teller.Close()
			if l, ok := <-lines; ok && l.err == nil {
				t.Errorf("told %+v", l)
			}
			if _, err := os.Stat(teller.dir); err == nil {
				t.Error("something is left of it")
			}
		})
	}
}

// Whatever comes through the pipe is one line, or none, and bounded.
func FuzzTold(f *testing.F) {
	f.Add([]byte("line\x00/\x00ls\x00"), false)
	f.Add([]byte("prompt\x00/\x00 1  ls\x00line\x00/x\x00 2  rm x\x00"), true)
	f.Add([]byte("line\x00relative\x00ls\x00line\x00/\x00"+strings.Repeat("x", maxTold)+"\x00line\x00/\x00ls\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, numbers bool) {
		teller := reading(strings.NewReader(string(b)))
		teller.numbers = numbers
		for {
			l, err := teller.Next()
			if err != nil {
				return
			}
			if len(l.Argv) == 0 || !filepath.IsAbs(l.Cwd) || len(strings.Join(l.Argv, "")) > maxTold+8 {
				t.Fatalf("%+v", l)
			}
		}
	})
}

func TestCanTell(t *testing.T) {
	me, err := process.Self()
	if err != nil {
		skiptest.Missing(t, "%v", err)
	}
	err = CanTell(me)
	if name := filepath.Base(me.Shell()); (name == "bash" || name == "zsh") != (err == nil) || err != nil && !errors.Is(err, ErrShell) {
		t.Errorf("%s: %v", name, err)
	}
}
