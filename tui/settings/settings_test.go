package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"

	"github.com/tucdesk/tucdesk/tui/console"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
)

const full = `
prefix: ctrl+a
echo: never
bell: false
tour: false
theme:
  background: light
  colours: sixteen
  own: {deny: bright-red, hold: "214", allow: "#5fd75f"}
keys:
  everywhere: {down: [down, J]}
  terminals: {grow-down: ctrl+j}
  targets: {exec: e, quit: []}
agents:
  columns: [env, role]
  group: env
  views:
    - {name: databases, filter: "env:prod !role:web", sort: -name}
`

func TestParse(t *testing.T) {
	s, err := Parse("f", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	var o console.Options
	s.Apply(&o)
	switch {
	case o.Prefix != "ctrl+a", o.Echo != predict.Never, !o.Quiet, o.Tour:
		t.Errorf("behaviour %+v", o)
	case o.Theme.Ground != canvas.Light, o.Theme.Depth != colorprofile.ANSI, len(o.Theme.Own) != 3:
		t.Errorf("theme %+v", o.Theme)
	case o.Keys.Key(&keymap.AgentKeys, keymap.ActExec) != "e", o.Keys.Key(&keymap.ApprovalKeys, keymap.ActDown) != "down":
		t.Error("keys are as they were")
	case len(s.Views) != 1 || s.Views[0].Sort != "-name" || len(s.Agents.Columns) != 2:
		t.Errorf("agents %+v %+v", s.Agents, s.Views)
	}
	for _, nothing := range []string{"", "\n", "# only this\n", "  \n # and this", example} {
		s, err := Parse("f", []byte(nothing))
		if err != nil || s.Prefix != console.DefaultPrefix || s.Keys != nil || !s.Bell {
			t.Errorf("%q gives %+v, %v", nothing, s, err)
		}
	}
}

// TestExample: what the example proposes holds.
func TestExample(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(example) {
		if rest, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(rest, ":") && !strings.HasPrefix(rest, "The ") && !strings.HasPrefix(rest, "yaml") {
			b.WriteString(rest)
		}
	}
	s, err := Parse("example", []byte(b.String()))
	if err != nil || s.Keys == nil || len(s.Views) != 1 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct{ doc, want string }{
		{"colour: red", `f:1:1: unknown key "colour" in the settings; it knows: prefix`},
		{"bell: true\nbell: false", "f:2:1:"},
		{"bell: yes please", "f:1:7: bell must be true or false"},
		{"prefix: q", "f:1:9: keymap: the prefix"},
		{"prefix: ctrl+zz", "f:1:9: keymap: the prefix"},
		{"echo: sometimes", "it must be one of: always, auto, never"},
		{"theme: {own: {deny: reddish}}", `f:1:21: "reddish" is no colour`},
		{"theme: {own: {deny: 12}}", "write it in quotes"},
		{"theme: {own: {border: red}}", `f:1:15: unknown key "border"`},
		{"keys:\n  targets:\n    exec: r\n", `f:3:5: r would mean "exec" and "refresh" in "targets"`},
		{"keys:\n  targets:\n    open: [enter]\n    fly: f\n", `f:4:5: "targets" has no action "fly"`},
		{"keys:\n  cellar: {open: e}\n", `f:2:12: there is no place "cellar"`},
		{"keys:\n  terminals: {zoom: ctrl+]}\n", "f:2:15: ctrl+] is the key before"},
		{"keys: [a]", "f:1:7: keys must be a mapping"},
		{"agents: {views: [{filter: web}]}", "a view needs a name"},
		{"agents: {views: [{name: a}, {name: a}]}", `f:1:29: there are two views "a"`},
		{"a: &x 1", "anchors"},
		{"bell: \u202etrue", "bidi"},
		{strings.Repeat("#", 300<<10), "at most"},
	} {
		s, err := Parse("f", []byte(tc.doc))
		var refused *Error
		if !errors.As(err, &refused) || refused.Line < 1 || refused.Column < 1 || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60q: %v, want %q", tc.doc, err, tc.want)
		}
		if s.Prefix != "" || s.Keys != nil {
			t.Errorf("%.60q was half taken", tc.doc)
		}
	}
}

// TestSchema: the schema knows the keys of a full file, and refuses others.
func TestSchema(t *testing.T) {
	var top struct {
		Additional bool `json:"additionalProperties"`
		Properties map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(Schema(), &top); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(full) {
		key, _, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
		if ok && !strings.HasPrefix(key, " ") {
			if _, known := top.Properties[key]; !known {
				t.Errorf("the schema does not know %q", key)
			}
		}
	}
	if _, ok := top.Properties["keys"].Properties["targets"]; !ok || top.Additional {
		t.Error("the schema lacks the places, or lets in what is not known")
	}
}

func TestCommand(t *testing.T) {
	home := t.TempDir()
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := Command(&out, func() (string, error) { return home, nil })
		cmd.SetArgs(args)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.Execute()
		return out.String(), err
	}
	for _, tc := range []struct {
		file string // empty: as it is
		args string
		want string
	}{
		{"", "path", filepath.Join(home, FileName)},
		{"", "check", "there is no"},
		{"", "show", "there is no"},
		{"", "example", "yaml-language-server"},
		{"", "schema", "json-schema.org"},
		{"bell: false\n", "show", "bell: false"},
		{"", "check", "holds"},
		{"bel: false\n", "check", "console.yaml:1:1: unknown key"},
	} {
		if tc.file != "" {
			if err := os.WriteFile(Path(home), []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := run(tc.args)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s printed %q, want %q", tc.args, got, tc.want)
		}
	}
	if _, err := Load(home); err == nil {
		t.Error("a refused file was loaded")
	}
}

func FuzzParse(f *testing.F) {
	seeds := []string{full, example, "keys: {targets: {exec: [e, e]}}", "theme: {own: {}}", "agents: {views: []}", "prefix: \x00"}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := Parse("f", doc)
		if err == nil && keymap.CheckPrefix(s.Prefix) != nil {
			t.Errorf("a prefix %q was let in", s.Prefix)
		}
	})
}

func TestShelf(t *testing.T) {
	shelf := Shelf{filepath.Join(t.TempDir(), "home")}
	if s, err := shelf.Load(); err != nil || len(s.Views) != 0 {
		t.Errorf("nothing gives %+v, %v", s, err)
	}
	var s kept.State
	s.KeepView(agents.Saved{Name: "a"})
	if err := shelf.Keep(s); err != nil {
		t.Fatal(err)
	}
	if got, err := shelf.Load(); err != nil || len(got.Views) != 1 {
		t.Errorf("kept %+v, %v", got, err)
	}
	if err := shelf.SkipTour(); err != nil {
		t.Fatal(err)
	}
	if got, err := shelf.Load(); err != nil || !got.Toured || len(got.Views) != 1 {
		t.Errorf("without the tour: %+v, %v", got, err)
	}
	var o console.Options
	if Default().Apply(&o); !o.Tour {
		t.Error("no tour at the first start")
	}
	o.Kept.Toured = true
	if Default().Apply(&o); o.Tour {
		t.Error("a tour at the second start")
	}
	name := filepath.Join(shelf.Home, StateName)
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := shelf.Load(); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a broken file: %v", err)
	}
	if left, _ := filepath.Glob(name + ".*"); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
