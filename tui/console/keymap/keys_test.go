package keymap

import (
	"errors"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// TestSpelling: every key that a place has can be pressed by its name, and every
// action has a name by which it can be bound.
func TestSpelling(t *testing.T) {
	for _, m := range every() {
		for _, b := range m.Bindings {
			if b.Action.String() == "" {
				t.Errorf("%s: %q has no name for a file: add it to names", m.Name, b.help)
			}
			for _, key := range b.Keys {
				if k, err := Press(key); err != nil || k.String() != key {
					t.Errorf("%s: %q is pressed as %q, %v", m.Name, key, k.String(), err)
				}
			}
		}
	}
	for _, bad := range []string{"", " ", "ctrl+", "shift+a", "CTRL+a", "alt+ctrl+x", "xx", "f13", "\x1b", "\u202e", "ctrl+ctrl+a"} {
		if k, err := Press(bad); err == nil {
			t.Errorf("%q is %q", bad, k.String())
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]Action{}
	for a, name := range names {
		if other, taken := seen[name]; taken {
			t.Errorf("%q is %d and %d", name, a, other)
		}
		seen[name] = a
	}
}

func TestChanges(t *testing.T) {
	for _, tc := range []struct {
		what    string
		changes []Change
		want    string // of the problem; empty: none
		at      int
	}{
		{"another key", []Change{{"targets", "exec", []string{"e", "ctrl+e"}}}, "", 0},
		{"two swapped", []Change{{"targets", "exec", []string{"r"}}, {"targets", "refresh", []string{"x"}}}, "", 0},
		{"none", []Change{{"targets", "quit", nil}}, "", 0},
		{"everywhere", []Change{{Everywhere, "down", []string{"down", "J"}}, {"terminals", "grow-down", []string{"ctrl+j"}}}, "", 0},
		{"taken", []Change{{"approvals", "back", []string{"esc"}}, {"targets", "exec", []string{"r"}}}, `r would mean "exec" and "refresh" in "targets"`, 1},
		{"taken by what stands before", []Change{{"targets", "quit", []string{"x"}}}, `x would mean "quit" and "exec"`, 0},
		{"taken twice", []Change{{"targets", "exec", []string{"e", "e"}}}, `e would mean "exec" and "exec"`, 0},
		{"a place that is not", []Change{{"nowhere", "exec", nil}}, "there is no place", 0},
		{"an action that is not", []Change{{"approvals", "exec", nil}}, `has no action "exec"; it has: actions, approvals`, 0},
		{"a tab", []Change{{"targets", "exec", []string{"3"}}}, "always names a tab", 0},
		{"the prefix", []Change{{"terminals", "zoom", []string{"ctrl+a"}}}, "is the key before the console's own", 0},
		{"no key", []Change{{"targets", "exec", []string{"shift+a"}}}, "is no key", 0},
		{"a letter that is typed", []Change{{"typing-a-filter", "back", []string{"Q"}}}, "is typed in", 0},
		{"no way back", []Change{{"a-request", "back", nil}}, "no way back", 0},
	} {
		_, err := New("ctrl+a", tc.changes)
		var refused *ChangeError
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.what, err)
		case tc.want != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Problem, tc.want) || refused.At != tc.at):
			t.Errorf("%s: %v, want %q of change %d", tc.what, err, tc.want, tc.at)
		}
	}
}

// TestOwn: whoever takes keys is given its own for what the person pressed.
func TestOwn(t *testing.T) {
	ks, err := New("", []Change{{"a-notice", "back", []string{"z"}}, {"a-notice", "down", []string{"q"}}})
	if err != nil {
		t.Fatal(err)
	}
	for pressed, want := range map[string]Action{"z": ActBack, "q": ActDown, "esc": actNone, "j": actNone, "k": ActUp, "w": actNone} {
		k, err := Press(pressed)
		if err != nil {
			t.Fatal(err)
		}
		if got := NoticeKeys.Lookup(ks.Own(&NoticeKeys, k).String()); got != want {
			t.Errorf("%s does %q, want %q", pressed, got, want)
		}
		if got := ks.Own(nil, k); got.String() != k.String() {
			t.Errorf("%s became %s where nothing is bound", pressed, got)
		}
		if got := (*Keys)(nil).Own(&NoticeKeys, k); got.String() != k.String() {
			t.Errorf("%s became %s for who has changed nothing", pressed, got)
		}
	}
	if got := ks.Key(&NoticeKeys, ActBack); got != "z" {
		t.Errorf("the hint says %q", got)
	}
}

// TestHelpFollows: help and footers name the keys as they are bound.
func TestHelpFollows(t *testing.T) {
	ks, err := New("", []Change{{"targets", "exec", []string{"e"}}, {"targets", "quit", nil}})
	if err != nil {
		t.Fatal(err)
	}
	st := canvas.NewStyles(true)
	found := false
	for _, p := range ks.Help(st, "ctrl+]") {
		found = found || p.Label == "e" && strings.HasPrefix(p.Text.String(), "run one command")
	}
	if !found {
		t.Error("help does not name the key")
	}
	var footer strings.Builder
	for _, s := range ks.Of(&AgentKeys).Footer(&canvas.Canvas{Styles: st}) {
		footer.WriteString(s.Text.String())
	}
	if got := footer.String(); !strings.Contains(got, "e exec") || strings.Contains(got, "quit") {
		t.Errorf("the footer reads %q", got)
	}
}
