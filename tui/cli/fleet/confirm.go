package fleet

import (
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Person reads and answers questions.
type Person struct {
	In    io.Reader
	Err   io.Writer
	There bool // at a terminal
}

// Confirm asks the person before a plan runs, and marks its requests as confirmed. A
// script says yes beforehand. what names the plan, as "one command on 3 machines". Without
// a yes the error is that of a verdict that asks for confirmation.
func (p Plan) Confirm(who Person, yes bool, what string) error {
	if !yes {
		v := backend.Verdict{Effect: backend.Confirm, Reason: what + " is confirmed first"}
		if at := p.With(backend.Confirm); len(at) > 0 {
			v = p[at[0]].Verdict
		}
		if !who.There {
			v.Reason += "; confirm with --yes"
			return v.Err()
		}
		fmt.Fprintf(who.Err, "tucdesk: run %s? type yes: ", sanitize.Clean(what))
		var answer string
		if _, err := fmt.Fscanln(who.In, &answer); err != nil || answer != "yes" {
			v.Reason += "; not confirmed"
			return v.Err()
		}
	}
	for i := range p {
		p[i].Request.Confirmed = true
	}
	return nil
}
