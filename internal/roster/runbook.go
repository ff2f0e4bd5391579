package roster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/runbook"
)

// A Runbook is the newest version that admins have signed of a runbook.
type Runbook struct {
	*runbook.Runbook
	Version  uint64
	Hash     envelope.Hash
	Document []byte // do not change
}

func (r *Roster) planRunbook(s statement, signers []key.Kid, b RunbookSet) (func(), error) {
	n := r.threshold
	if len(b.Document) == 0 {
		n = 1 // whoever sees a bad one may take it away alone
	}
	if err := r.need(n, s, signers, key.Kid{}, false); err != nil {
		return nil, err
	}
	if err := checkName("a runbook's name", b.Name); err != nil {
		return nil, err
	}
	known, ok := r.runbooks[b.Name]
	switch {
	case b.Version != known.Version+1:
		return nil, fmt.Errorf("%w: version %d of the runbook %s does not follow %d", ErrRefused, b.Version, b.Name, known.Version)
	case !ok && len(r.runbooks) >= MaxRunbooks:
		return nil, fmt.Errorf("%w: a team has at most %d runbooks", ErrRefused, MaxRunbooks)
	case len(b.Document) == 0 && (known.Runbook == nil || !b.Hash.IsZero()):
		return nil, fmt.Errorf("%w: there is no runbook %s to take away", ErrRefused, b.Name)
	case len(b.Document) == 0:
		return func() { r.runbooks[b.Name] = Runbook{Version: b.Version} }, nil
	case envelope.Sum(b.Document) != b.Hash:
		return nil, fmt.Errorf("%w: the document does not have the hash it names", ErrRefused)
	}
	book, err := runbook.Parse(b.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	if book.Name != b.Name {
		return nil, fmt.Errorf("%w: the document is of the runbook %s", ErrRefused, book.Name)
	}
	return func() { r.runbooks[b.Name] = Runbook{book, b.Version, b.Hash, b.Document} }, nil
}

// Runbooks gives the runbooks in force, in order of name.
func (r *Roster) Runbooks() (list []Runbook) {
	for _, name := range slices.Sorted(maps.Keys(r.runbooks)) {
		if b := r.runbooks[name]; b.Runbook != nil {
			list = append(list, b)
		}
	}
	return list
}

// RunbookNamed gives a runbook in force, or ErrUnknown.
func (r *Roster) RunbookNamed(name string) (Runbook, error) {
	b := r.runbooks[name]
	switch {
	case b.Runbook != nil:
		return b, nil
	case checkName("a runbook's name", name) != nil:
		return b, fmt.Errorf("%w: no runbook can have such a name", ErrUnknown) // and it is not repeated
	case b.Version > 0:
		return b, fmt.Errorf("%w: the runbook %s was taken away", ErrUnknown, name)
	}
	return b, fmt.Errorf("%w: no runbook of this team is named %q", ErrUnknown, name)
}

// NextRunbook gives the statement's body that would put a document in force, or with an
// empty one take the runbook away.
func (r *Roster) NextRunbook(name string, document []byte) RunbookSet {
	b := RunbookSet{Name: name, Version: r.runbooks[name].Version + 1, Document: document}
	if len(document) > 0 {
		b.Hash = envelope.Sum(document)
	} else {
		b.Document = []byte{}
	}
	return b
}

// A RunbookVersion is a runbook that admins have signed, or what took it away.
type RunbookVersion struct {
	RunbookSet
	Seq    uint64 // number of the statement
	At     time.Time
	Signed []string // e-mails of who signed, as the roster has them now
}

// RunbookVersions gives every version that there ever was, of all runbooks, the first one
// first.
func (r *Roster) RunbookVersions() (versions []RunbookVersion) {
	history(r, KindRunbookSet, func(b RunbookSet, seq uint64, at time.Time, signed []string) {
		versions = append(versions, RunbookVersion{b, seq, at, signed})
	})
	return versions
}

// CheckInstance answers nil if an exec of argv, on a machine, is exactly what a step of the runbook in
// force runs there: this version, these values, this user and folder, and one of the
// step's targets; or if i is nil, which claims nothing. Errors: ErrUnknown,
// runbook.ErrMismatch.
func (r *Roster) CheckInstance(i *runbook.Instance, kind policy.Kind, as, cwd string, argv []string, on Agent) error {
	if i == nil {
		return nil
	}
	if kind != policy.Exec {
		return fmt.Errorf("%w: a runbook's step is an exec", runbook.ErrMismatch)
	}
	book, err := r.RunbookNamed(i.Name)
	if err != nil {
		return err
	}
	if i.Version != book.Version {
		return fmt.Errorf("%w: %s is at version %d here, and version %d was meant; fetch the newest roster and run it again", runbook.ErrMismatch, i.Name, book.Version, i.Version)
	}
	step, want, err := book.Match(*i)
	switch {
	case err != nil:
		return err
	case !slices.Equal(argv, want.Argv) || as != want.As || cwd != want.Cwd:
		return fmt.Errorf("%w: step %d of %s runs another command with these values, or as another user, or elsewhere", runbook.ErrMismatch, i.Step, i.Name)
	case step.Targets.Named() && !step.Targets.On(on.Name, on.Tags):
		return fmt.Errorf("%w: step %d of %s is for %s, and %s is none of them", runbook.ErrMismatch, i.Step, i.Name, step.Targets, on.Name)
	}
	return nil
}

// InstanceWords names an instance in one line for people; "" for nil. It checks nothing.
func (r *Roster) InstanceWords(i *runbook.Instance) string {
	if i == nil {
		return ""
	}
	if book := r.runbooks[i.Name]; book.Runbook != nil && book.Version == i.Version {
		return book.Describe(*i)
	}
	return i.String()
}
