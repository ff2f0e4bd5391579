// Package desk opens the console as this person wants it: with the settings of a home,
// and with what the console itself must not do, such as to write files.
//
// It must not import a service.
package desk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/tui/console"
	"github.com/tucdesk/tucdesk/tui/crash"
	"github.com/tucdesk/tucdesk/tui/settings"
)

// A Desk opens consoles.
type Desk struct {
	Home string // the folder of the settings; empty: profile.DefaultDir
}

// Run shows the console on a backend. Settings that do not hold are an error before
// anything is shown.
func (d Desk) Run(ctx context.Context, b backend.Backend, o console.Options) error {
	home := d.Home
	if home == "" {
		var err error
		if home, err = profile.DefaultDir(); err != nil {
			return err
		}
	}
	s, err := settings.Load(home)
	if err != nil {
		return err
	}
	shelf := settings.Shelf{Home: home}
	if o.Kept, err = shelf.Load(); err != nil {
		return err
	}
	s.Apply(&o)
	o.Keeper, o.Many, o.OpenURL = shelf, many(b), browser(os.Getenv)
	err = console.Run(ctx, b, o)
	var broke *console.BrokeError
	if !errors.As(err, &broke) {
		return err
	}
	file, werr := crash.Write(home, broke, time.Now())
	if werr != nil {
		return errors.Join(err, werr)
	}
	return fmt.Errorf("%w; the report is %s: it holds names and places in the program only; please read it, and send it to the project with what you did", err, file)
}
