package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tucdesk/tucdesk/tui/console/kept"
)

// StateName is the name of the file in TUCDESK_HOME that the console itself writes.
const StateName = "console.state.json"

// A Shelf keeps the console's state in a home. It implements kept.Keeper.
type Shelf struct{ Home string }

// Load gives what was kept; nothing where nothing was.
func (s Shelf) Load() (kept.State, error) {
	name := filepath.Join(s.Home, StateName)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return kept.State{}, nil
	}
	if err != nil {
		return kept.State{}, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, kept.MaxSize+1))
	if err != nil {
		return kept.State{}, fmt.Errorf("settings: %w", err)
	}
	state, err := kept.Parse(b)
	if err != nil {
		return kept.State{}, fmt.Errorf("settings: %s: %w; move it away to begin anew", name, err)
	}
	return state, nil
}

// SkipTour has the console begin without the tour: for homes that scripts use.
func (s Shelf) SkipTour() error {
	state, err := s.Load()
	if err != nil || state.Toured {
		return err
	}
	state.Toured = true
	return s.Keep(state)
}

// Keep writes a state, whole or not at all.
func (s Shelf) Keep(state kept.State) error {
	b, err := state.Marshal()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Home, 0o700); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	f, err := os.CreateTemp(s.Home, StateName+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.Home, StateName))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}
