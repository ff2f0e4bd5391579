package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

// A Driver opens backends of one URL scheme.
type Driver struct {
	Scheme string // such as "tucdesk", "ssh" or "local": lower case, unique
	Doc    string // one line for `tucdesk backend list`
	Open   func(ctx context.Context, u *url.URL, env Env) (Backend, error)
}

// Env is all that the console hands to a driver. It never carries an
// identity key.
type Env struct {
	Logger *slog.Logger // never nil when a Registry opens
	Dir    string       // private to the scheme, mode 0700; empty where there is none
}

// A Registry holds drivers by scheme. The zero value is empty and ready to
// use. Register everything before the first Open: it has no lock.
type Registry struct {
	drivers map[string]Driver
}

// Register adds a driver. A scheme that is not lower case, a missing Open and
// a scheme that is taken are errors: nothing is ever replaced.
func (r *Registry) Register(d Driver) error {
	if !validScheme(d.Scheme) {
		return fmt.Errorf("backend: scheme %q must be lower case letters, digits, plus, minus and dot", d.Scheme)
	}
	if d.Open == nil {
		return fmt.Errorf("backend: driver of scheme %q has no Open", d.Scheme)
	}
	if _, taken := r.drivers[d.Scheme]; taken {
		return fmt.Errorf("backend: scheme %q is registered already", d.Scheme)
	}
	if r.drivers == nil {
		r.drivers = make(map[string]Driver)
	}
	r.drivers[d.Scheme] = d
	return nil
}

// Drivers returns the registered drivers, sorted by scheme.
func (r *Registry) Drivers() []Driver {
	out := make([]Driver, 0, len(r.drivers))
	for _, d := range r.drivers {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Driver) int { return strings.Compare(a.Scheme, b.Scheme) })
	return out
}

// Open opens the backend that rawURL names, such as "local:" or
// "tucdesk://tucdesk.example". An unknown scheme is an error that lists the
// known ones.
func (r *Registry) Open(ctx context.Context, rawURL string, env Env) (Backend, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// url.Error quotes the whole URL, which may hold a password.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("backend: not a URL: %w", err)
	}
	d, ok := r.drivers[u.Scheme]
	if !ok {
		known := make([]string, 0, len(r.drivers))
		for _, d := range r.Drivers() {
			known = append(known, d.Scheme+":")
		}
		return nil, fmt.Errorf("backend: no driver for scheme %q; known are: %s", u.Scheme, strings.Join(known, " "))
	}
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	return d.Open(ctx, u, env)
}

func validScheme(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
