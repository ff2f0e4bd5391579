// Package all lists the backends that TucDesk is built with.
//
// The list is explicit: nothing registers itself by being imported. A main of
// one's own calls Backends, registers its drivers too, and hands the registry
// to the command line.
package all

import (
	"fmt"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/backend/local"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/backend/openssh"
)

// Backends returns a new registry with every driver of this module.
func Backends() *backend.Registry {
	drivers := []backend.Driver{
		control.Driver(),
		local.Driver(),
		mem.Driver(),
		openssh.Driver(),
	}
	r := new(backend.Registry)
	for _, d := range drivers {
		if err := r.Register(d); err != nil {
			panic(fmt.Sprintf("all: internal error: %v", err)) // the list above is constant
		}
	}
	return r
}
