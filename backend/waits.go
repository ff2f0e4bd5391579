package backend

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// An Awaited is somebody whose yes an Approval waits for now, as this device judges it by
// the signed roster and policy.
type Awaited struct {
	Who    string
	Online bool // the server says so; false: it says nothing
}

// A Reader is somebody who reads an Approval to decide it. It is the server's word, and
// keeps nobody from deciding.
type Reader struct {
	Who   string
	Since time.Time
}

// An Attender tells others that this member reads a request, to decide it. It is a
// capability of a Backend.
type Attender interface {
	// Attend tells it until ctx is done, and returns ctx's error, or why it can't be
	// told. Nothing depends on it.
	Attend(ctx context.Context, id ApprovalID) error
}

// maxNames bounds the people that one line names.
const maxNames = 8

// Reading says in words who else reads a to decide it; empty where nobody is known to.
func (a Approval) Reading(now time.Time) string {
	var words []string
	for _, r := range a.Readers {
		words = append(words, fmt.Sprintf("%s is deciding (%d s)", r.Who, max(0, int(now.Sub(r.Since)/time.Second))))
	}
	return strings.Join(words, ", ")
}

// WhoCan says in words who could say yes to a now, who is online first, or that nobody could and what to do;
// empty where that is not known.
func (a Approval) WhoCan() string {
	var online, others []string
	for _, w := range a.Awaits {
		if w.Online {
			online = append(online, w.Who+" (online, says the server)")
		} else {
			others = append(others, w.Who)
		}
	}
	words := append(online, others...)
	switch n := len(words) - maxNames; {
	case len(words) == 0:
		return a.Nobody
	case n > 0:
		words = append(words[:maxNames], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(words, ", ")
}
