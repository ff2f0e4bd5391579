package roster

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// errNoEnroller: the signer is not one, so that the admins' threshold is what
// the statement lacks.
var errNoEnroller = errors.New("roster: not an enroller")

// A delegation is the latest Delegation of a device, and how much of it is used.
type delegation struct {
	Delegation
	used uint64
}

// An Enroller is what a device may still add by itself.
type Enroller struct {
	Delegation
	Left uint64 // machines
}

// Enroller gives the delegation of a device that may add machines at the given
// time, or ErrUnknown, ErrRevoked or ErrExpired.
func (r *Roster) Enroller(k key.Kid, at time.Time) (Enroller, error) {
	if _, err := r.Device(k, at); err != nil {
		return Enroller{}, err
	}
	d, ok := r.enrollers[k]
	switch {
	case !ok || d.Max == 0:
		return Enroller{}, fmt.Errorf("%w enroller %s: an admin signs a delegation first (tucdesk roster delegate)", ErrUnknown, k.Short())
	case at.Unix() >= d.Exp:
		return Enroller{}, fmt.Errorf("%w: the delegation of %s was valid until %s", ErrExpired, k.Short(), time.Unix(d.Exp, 0).UTC().Format(time.RFC3339))
	case d.used >= d.Max:
		return Enroller{}, fmt.Errorf("%w: the delegation of %s was for %d machines, and all are added", ErrExpired, k.Short(), d.Max)
	}
	return Enroller{d.Delegation, d.Max - d.used}, nil
}

func (r *Roster) planDelegate(s statement, signers []key.Kid, b Delegation) (func(), error) {
	n := r.threshold
	if b.Max == 0 {
		n = 1
	}
	if err := r.need(n, s, signers, key.Kid{}, false); err != nil {
		return nil, err
	}
	d, ok := r.devices[b.Kid]
	if _, gone := r.revoked[b.Kid]; !ok || gone {
		return nil, fmt.Errorf("%w: no valid device has the id %s", ErrRefused, b.Kid)
	}
	if b.Max > 0 {
		if err := checkDelegation(b, min(d.Exp, b.Exp), s.Time); err != nil {
			return nil, err
		}
	}
	return func() { r.enrollers[b.Kid] = delegation{Delegation: b} }, nil
}

func checkDelegation(b Delegation, exp, at int64) error {
	if err := checkName("beginning of names", b.Names); err != nil {
		return err
	}
	if err := checkName("login user", b.LoginUser); err != nil {
		return err
	}
	if len(b.Tags) == 0 || len(b.Tags) > maxList {
		return fmt.Errorf("%w: a delegation names 1 to %d tags that its machines bear: policy knows them by these", ErrRefused, maxList)
	}
	for k, v := range b.Tags {
		if err := checkName("tag", k); err != nil {
			return err
		}
		if err := checkName("value of tag "+k, v); err != nil {
			return err
		}
	}
	if exp <= at {
		return fmt.Errorf("%w: the delegation, or the device's own key, ends before it begins", ErrRefused)
	}
	return nil
}

// mayEnrol judges whether an enroller may add a machine by itself.
func (r *Roster) mayEnrol(s statement, by key.Kid, b AgentAdd) error {
	if _, ok := r.enrollers[by]; !ok {
		return errNoEnroller
	}
	e, err := r.Enroller(by, time.Unix(s.Time, 0))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrThreshold, err)
	}
	switch {
	case !strings.HasPrefix(b.Name, e.Names):
		return fmt.Errorf("%w: the enroller may add machines whose name begins with %q", ErrThreshold, e.Names)
	case b.LoginUser != e.LoginUser:
		return fmt.Errorf("%w: the enroller may add machines with the login user %q", ErrThreshold, e.LoginUser)
	case len(b.Tags) != len(e.Tags):
		return fmt.Errorf("%w: the enroller may add machines with exactly %d tag(s)", ErrThreshold, len(e.Tags))
	case b.Exp > s.Time+int64(EnrolledLife/time.Second):
		return fmt.Errorf("%w: the key of a machine that an enroller adds is valid for at most %d days", ErrThreshold, EnrolledLife/(24*time.Hour))
	}
	for k, begins := range e.Tags {
		if v, ok := b.Tags[k]; !ok || !strings.HasPrefix(v, begins) {
			return fmt.Errorf("%w: the enroller may add machines whose tag %q begins with %q", ErrThreshold, k, begins)
		}
	}
	return nil
}
