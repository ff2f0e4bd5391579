package review

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Words are the words of a request whose files are bound to it: the program, and those
// that it names.
func Words(req backend.OpenRequest) ([]token.Bound, error) {
	words := []token.Bound{{}}
	for i, w := range req.Argv {
		if i > 0 && slices.Contains(req.Files, w) {
			words = append(words, token.Bound{Word: uint64(i)})
		}
	}
	for _, f := range req.Files {
		if !slices.Contains(req.Argv[1:], f) {
			return nil, fmt.Errorf("%q is to be bound and is none of the command's words; write it as it stands there", f)
		}
	}
	if len(words) > token.MaxBound {
		return nil, fmt.Errorf("at most %d files can be bound, the program among them", token.MaxBound)
	}
	return words, nil
}

// Looked reads what a machine says of the files that words of a command name.
func Looked(said []byte, words []token.Bound, c token.Command) ([]token.Bound, error) {
	if err := envelope.Unmarshal(said, &c.Bound); err != nil {
		return nil, err
	}
	if !slices.EqualFunc(c.Bound, words, func(a, b token.Bound) bool { return a.Word == b.Word }) {
		return nil, errors.New("the machine answered about other words")
	}
	return c.Bound, c.Check()
}

// content gives a file that is approved, with what is known of it here.
func content(b token.Bound, agent key.Kid, before profile.Approved) backend.Content {
	f := backend.Content{Path: b.Path, SHA256: b.Hash.String(), Known: "not approved on this device before"}
	if last, ok := before.Last(agent, b.Path); ok && last.Hash == b.Hash {
		f.Known = "as approved on this device on " + last.At.Format(time.DateOnly)
	} else if ok {
		f.Known = "CHANGED since it was approved on this device on " + last.At.Format(time.DateOnly)
	}
	return f
}

// A Memory keeps what this device has approved.
type Memory interface {
	Approved() profile.Approved
	KeepApproved(profile.Approved) error
}

// Remember notes which files this device has approved, so that it can say what changes.
func (c *Review) Remember(m Memory, now time.Time) error {
	if len(c.Ask.Command.Bound) == 0 {
		return nil
	}
	all := m.Approved()
	for _, f := range c.Ask.Command.Bound {
		all.Add(c.Agent.Kid, f.Path, f.Hash, now)
	}
	return m.KeepApproved(all)
}
