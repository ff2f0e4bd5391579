package desk

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// TestMany runs a command on marked targets: what is denied or offline is left out, and
// nothing runs before yes was typed.
func TestMany(t *testing.T) {
	for _, tc := range []struct {
		ids   []backend.TargetID
		argv  []string
		typed string
		want  []string
		miss  string
		code  int
	}{
		{[]backend.TargetID{"web-1", "cache-1", "vault"}, []string{"echo", "hi there"}, "yes\r",
			[]string{"nobody logs in to the vault", "Left out, as they are denied or offline: 1 target.", "Run this on 2 targets? Type yes: ", "== cache-1, web-1 (exit 0)", "hi there"}, "== vault", 0},
		{[]backend.TargetID{"web-1", "web-2"}, []string{"exit", "3"}, "yes\r", []string{"look", "exit 3"}, "", 123},
		{[]backend.TargetID{"web-1"}, []string{"echo", "ran"}, "y\r", []string{"nothing was run"}, "==", 125},
		{[]backend.TargetID{"vault"}, []string{"echo", "ran"}, "", []string{"nothing was run: none of them may run it, or can: vault is denied"}, "==", 125},
		{[]backend.TargetID{"web-1"}, []string{"restart", "api"}, "", []string{"mark fewer"}, "==", 125},
	} {
		b := mem.Demo().Backend("alice")
		term, err := many(b)(t.Context(), tc.ids, tc.argv)
		if err != nil {
			t.Fatal(err)
		}
		if tc.typed != "" {
			go term.Write([]byte(tc.typed))
		}
		shown, err := io.ReadAll(term)
		if err != nil {
			t.Error(err)
		}
		for _, want := range tc.want {
			if !strings.Contains(string(shown), want) {
				t.Errorf("%v on %v: %q lacks %q", tc.argv, tc.ids, shown, want)
			}
		}
		if tc.miss != "" && strings.Contains(string(shown), tc.miss) {
			t.Errorf("%v on %v: %q has %q", tc.argv, tc.ids, shown, tc.miss)
		}
		if exit, err := term.Wait(); exit.Code != tc.code || err != nil {
			t.Errorf("%v on %v ended with %v, %v", tc.argv, tc.ids, exit, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNoBrowserAtTheFarEnd(t *testing.T) {
	env := map[string]string{"SSH_TTY": "/dev/pts/1", "DISPLAY": ":0"}
	if browser(func(name string) string { return env[name] }) != nil {
		t.Error("a browser would open where nobody sits")
	}
	if runtime.GOOS == "linux" && browser(func(string) string { return "" }) != nil {
		t.Error("a browser without a screen")
	}
}
