// Package kept is what the console remembers from one run to the next: views of the
// list of targets, and layouts of terminals, each under a name that a person gave it.
//
// Invariants: what is read back is checked as strictly as if a stranger had written it;
// all is bounded; nothing of it opens anything by itself, and no command is kept, only
// the names of targets.
package kept

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/layout"
)

// Limits of a State.
const (
	MaxSize  = 1 << 20 // bytes
	MaxNames = 100     // of views, and of layouts
	maxTabs  = 64      // of a layout
)

// A Layout is terminals, and how they stand beside each other.
type Layout struct {
	Name string         `json:"name"`
	Tabs []*layout.Plan `json:"tabs"`
}

// Targets are those of all its terminals.
func (l Layout) Targets() (out []string) {
	for _, p := range l.Tabs {
		out = append(out, p.Targets()...)
	}
	return out
}

// A State is all that is remembered.
type State struct {
	Views   []agents.Saved `json:"views"`
	Layouts []Layout       `json:"layouts"`
	Toured  bool           `json:"toured,omitempty"` // the tour was seen, or not wanted
}

// A Keeper keeps a state where the next run finds it.
type Keeper interface{ Keep(State) error }

// Marshal is Parse's inverse.
func (s State) Marshal() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("kept: %w", err)
	}
	return append(b, '\n'), nil
}

// Parse reads a state.
func Parse(b []byte) (State, error) {
	if len(b) > MaxSize {
		return State{}, fmt.Errorf("kept: %d bytes, at most %d are read", len(b), MaxSize)
	}
	var s State
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return State{}, fmt.Errorf("kept: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return State{}, errors.New("kept: more follows the end")
	}
	if err := s.check(); err != nil {
		return State{}, err
	}
	return s, nil
}

func (s State) check() error {
	if len(s.Views) > MaxNames || len(s.Layouts) > MaxNames {
		return fmt.Errorf("kept: more than %d names", MaxNames)
	}
	for _, v := range s.Views {
		if err := sanitize.Name(v.Name); err != nil {
			return fmt.Errorf("kept: a view: %w", err)
		}
	}
	for _, l := range s.Layouts {
		if err := sanitize.Name(l.Name); err != nil {
			return fmt.Errorf("kept: a layout: %w", err)
		}
		if len(l.Tabs) == 0 || len(l.Tabs) > maxTabs {
			return fmt.Errorf("kept: the layout %q has %d tabs", l.Name, len(l.Tabs))
		}
		for _, p := range l.Tabs {
			if err := p.Check(); err != nil {
				return fmt.Errorf("kept: the layout %q: %w", l.Name, err)
			}
		}
	}
	return nil
}

// KeepView adds a view, or replaces the one of its name.
func (s *State) KeepView(v agents.Saved) {
	s.ForgetView(v.Name)
	s.Views = append(s.Views, v)
}

// ForgetView drops a view.
func (s *State) ForgetView(name string) {
	s.Views = slices.DeleteFunc(slices.Clone(s.Views), func(v agents.Saved) bool { return v.Name == name })
}

// KeepLayout adds a layout, or replaces the one of its name.
func (s *State) KeepLayout(l Layout) {
	s.ForgetLayout(l.Name)
	s.Layouts = append(s.Layouts, l)
}

// ForgetLayout drops a layout.
func (s *State) ForgetLayout(name string) {
	s.Layouts = slices.DeleteFunc(slices.Clone(s.Layouts), func(l Layout) bool { return l.Name == name })
}
