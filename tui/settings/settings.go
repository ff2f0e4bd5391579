// Package settings is what a person wants of the console: keys, colours, behaviour and
// views, in a file of theirs, TUCDESK_HOME/console.yaml.
//
// Invariants:
//
//   - The file is read strictly: what is not known, stands twice or would give a key
//     two meanings is refused with line, column and what to write instead. A file that
//     is refused changes nothing.
//   - The schema is made of the fields that the file is read with.
//   - Nothing in the file lets anybody in: it is about looks and keys alone.
//
// The package must not import a service or a backend of its own.
package settings

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/charmbracelet/colorprofile"
	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/document"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
)

// FileName is the file's name in TUCDESK_HOME.
const FileName = "console.yaml"

// An Error says where a file is wrong. Line and Column count from 1.
type Error struct {
	File         string
	Line, Column int
	Problem      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("settings: %s:%d:%d: %s", sanitize.Clean(e.File), e.Line, e.Column, sanitize.Clean(e.Problem))
}

// Settings are what a file says. Use Default, Parse or Load.
type Settings struct {
	Prefix        string
	Echo          predict.When
	Bell          bool
	Notifications bool
	Mouse         bool
	Tour          bool
	Theme         canvas.Theme
	Keys          *keymap.Keys // nil: none is changed
	Agents        agents.Arrangement
	Views         []agents.Saved
}

// Default is what holds where there is no file.
func Default() Settings {
	return Settings{Prefix: console.DefaultPrefix, Bell: true, Notifications: true, Mouse: true, Tour: true}
}

// Path is where the file of a home is.
func Path(home string) string { return filepath.Join(home, FileName) }

// Load reads the file of a home. Where there is none, Default holds.
func Load(home string) (Settings, error) {
	s, err := read(Path(home))
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	return s, err
}

// read reads a file that is there.
func read(name string) (Settings, error) {
	f, err := os.Open(name)
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	return Parse(name, doc)
}

// Parse reads a document. name is of the file, for errors.
func Parse(name string, doc []byte) (Settings, error) {
	r := &reader{s: Default()}
	if len(doc) > document.MaxSize || !blank(doc) {
		r.file(r.Read(doc))
	}
	if err := r.Err(); err != nil {
		return Settings{}, &Error{File: name, Line: err.Line, Column: err.Column, Problem: err.Problem}
	}
	return r.s, nil
}

// blank says whether a document has nothing but comments.
func blank(doc []byte) bool {
	comment := false
	for _, c := range doc {
		switch {
		case c == '\n':
			comment = false
		case c == '#':
			comment = true
		case !comment && c != ' ' && c != '\r':
			return false
		}
	}
	return true
}

// Apply gives the console what the settings say. o.Kept is what was kept.
func (s Settings) Apply(o *console.Options) {
	o.Prefix, o.Echo, o.Keys, o.Theme, o.Quiet = s.Prefix, s.Echo, s.Keys, s.Theme, !s.Bell
	o.Views, o.Arranged, o.Silent, o.NoMouse = s.Views, s.Agents, !s.Notifications, !s.Mouse
	o.Tour = s.Tour && !o.Kept.Toured
}

// A reader fills settings from the tree of a file.
type reader struct {
	document.Reader
	s       Settings
	changes []keymap.Change
	at      []ast.Node // of changes
}

func (r *reader) file(n ast.Node) {
	if n == nil {
		return
	}
	r.Mapping(n, "the settings", r.fields()...)
	if r.Err() != nil || len(r.changes) == 0 {
		return
	}
	keys, err := keymap.New(r.s.Prefix, r.changes)
	var refused *keymap.ChangeError
	if errors.As(err, &refused) {
		r.Fail(r.at[refused.At], "%s", refused.Problem)
	}
	r.s.Keys = keys
}

var (
	yesNo  = document.Shape{"type": "boolean"}
	echoes = map[string]predict.When{"auto": predict.Auto, "always": predict.Always, "never": predict.Never}
	depths = map[string]colorprofile.Profile{
		"auto": colorprofile.Unknown, "none": colorprofile.ASCII, "sixteen": colorprofile.ANSI, "many": colorprofile.ANSI256, "all": colorprofile.TrueColor,
	}
	grounds = map[string]canvas.Ground{"auto": canvas.AsAnswered, "dark": canvas.Dark, "light": canvas.Light}
)

func (r *reader) fields() []document.Field {
	return []document.Field{
		document.Key("prefix", func(n ast.Node) {
			r.s.Prefix = r.Text(n, "prefix")
			if err := keymap.CheckPrefix(r.s.Prefix); err != nil && r.Err() == nil {
				r.Fail(n, "%v", err)
			}
		}).Of(document.AnyText, "The key before a key of the console's, while a program has the keys.").Else(console.DefaultPrefix),
		document.Key("echo", func(n ast.Node) { r.s.Echo = word(r, n, "echo", echoes) }).
			Of(words(echoes), "When what is typed is shown before the far end echoes it.").Else("auto"),
		r.flag("bell", &r.s.Bell, "Ring the terminal's bell when somebody asks for an approval, or a terminal rings."),
		r.flag("notifications", &r.s.Notifications, "Show what programs in terminals announce (OSC 9 and 777)."),
		r.flag("mouse", &r.s.Mouse, "Give the mouse to programs that ask for it."),
		r.flag("tour", &r.s.Tour, "Begin with the tour the first time that the console is opened."),
		document.Key("theme", func(n ast.Node) { r.Mapping(n, "theme", r.themeFields()...) }).
			Of(document.Object(r.themeFields()...), "Colours."),
		document.Key("keys", r.keys).Of(keysShape(), "Keys that are bound otherwise, by place and action. An empty list unbinds."),
		document.Key("agents", func(n ast.Node) { r.Mapping(n, "agents", r.agentFields()...) }).
			Of(document.Object(r.agentFields()...), "The list of targets."),
	}
}

// flag is a field that is yes or no.
func (r *reader) flag(key string, into *bool, doc string) document.Field {
	return document.Key(key, func(n ast.Node) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.Fail(n, "%s must be true or false", key)
			return
		}
		*into = b.Value
	}).Of(yesNo, doc).Else(*into)
}

// word reads one of the keys of a map.
func word[T any](r *reader, n ast.Node, what string, of map[string]T) T {
	return of[r.OneOf(n, what, sorted(of)...)]
}

func words[T any](of map[string]T) document.Shape { return document.Words(sorted(of)...) }

func sorted[T any](of map[string]T) []string {
	var keys []string
	for k := range of {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (r *reader) themeFields() []document.Field {
	own := make([]document.Field, 0, 16)
	for _, name := range canvas.StyleNames() {
		own = append(own, document.Key(name, func(n ast.Node) {
			c, err := canvas.ParseColour(r.Text(n, "a colour"))
			if err != nil && r.Err() == nil {
				r.Fail(n, "%v", err)
			}
			r.s.Theme.Own[name] = c
		}).Of(document.AnyText, ""))
	}
	return []document.Field{
		document.Key("background", func(n ast.Node) { r.s.Theme.Ground = word(r, n, "background", grounds) }).
			Of(words(grounds), "What the colours are to be read on; auto asks the terminal.").Else("auto"),
		document.Key("colours", func(n ast.Node) { r.s.Theme.Depth = word(r, n, "colours", depths) }).
			Of(words(depths), "How many colours: none, sixteen, many (256) or all; auto takes what the terminal says, and NO_COLOR.").Else("auto"),
		document.Key("own", func(n ast.Node) {
			r.s.Theme.Own = make(map[string]color.Color)
			r.Mapping(n, "own", own...)
		}).Of(document.Object(own...), "Colours of your own: a name such as bright-red, \"0\" to \"255\", or \"#ff5f5f\"."),
	}
}

// keys reads places, and in each the actions that are bound.
func (r *reader) keys(n ast.Node) {
	r.Pairs(n, "keys", func(place string, _, actions ast.Node) {
		r.Pairs(actions, "keys."+place, func(action string, at, keys ast.Node) {
			c := keymap.Change{Place: place, Action: action}
			if one, ok := keys.(*ast.StringNode); ok {
				c.Keys = []string{r.Text(one, "a key")}
			} else {
				r.List(keys, "keys."+place+"."+action, func(n ast.Node) { c.Keys = append(c.Keys, r.Text(n, "a key")) })
			}
			r.changes, r.at = append(r.changes, c), append(r.at, at)
		})
	})
}

// keysShape says which places have which actions.
func keysShape() document.Shape {
	bound := document.EitherOf(document.AnyText, document.ListOf(document.AnyText))
	var places []document.Field
	for _, place := range keymap.Places() {
		var actions []document.Field
		for _, a := range keymap.Actions(place) {
			actions = append(actions, document.Key(a, nil).Of(bound, ""))
		}
		places = append(places, document.Key(place, nil).Of(document.Object(actions...), ""))
	}
	return document.Object(places...)
}

func (r *reader) agentFields() []document.Field {
	return append(r.arrangement(&r.s.Agents),
		document.Key("views", func(n ast.Node) {
			r.List(n, "views", func(n ast.Node) {
				var v agents.Saved
				r.Mapping(n, "a view", append(r.arrangement(&v.Arrangement), document.Key("name", func(n ast.Node) { v.Name = r.Name(n, "name") }))...)
				switch {
				case r.Err() != nil:
				case v.Name == "":
					r.Fail(n, "a view needs a name")
				case slices.ContainsFunc(r.s.Views, func(o agents.Saved) bool { return o.Name == v.Name }):
					r.Fail(n, "there are two views %q", v.Name)
				}
				r.s.Views = append(r.s.Views, v)
			})
		}).Of(document.ListOf(document.Object(append(r.arrangement(&agents.Arrangement{}),
			document.Key("name", nil).Of(document.AnyName, "").Needed())...)), "Views to choose from."))
}

// arrangement is what says how the list of targets is shown.
func (r *reader) arrangement(into *agents.Arrangement) []document.Field {
	return []document.Field{
		document.Key("filter", func(n ast.Node) { into.Filter = r.Text(n, "filter") }).Of(document.AnyText, "As it is typed: env:prod !role:db web."),
		document.Key("sort", func(n ast.Node) { into.Sort = r.Text(n, "sort") }).Of(document.AnyText, "name, state, or a tag's key; - before it turns it round."),
		document.Key("group", func(n ast.Node) { into.Group = r.Text(n, "group") }).Of(document.AnyText, "A tag's key."),
		document.Key("columns", func(n ast.Node) { into.Columns = r.Texts(n, "columns") }).Of(document.ListOf(document.AnyText), "Tags' keys, a column each."),
	}
}

// Schema is the JSON Schema of the file.
func Schema() []byte {
	return document.Schema("https://tucdesk.app/schema/console.json", "TucDesk console settings", "Keys, colours, behaviour and views of the console.",
		document.Object((&reader{s: Default()}).fields()...))
}
