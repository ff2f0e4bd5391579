package process

import "time"

// Lookup refuses: sessions are not supported here yet.
func Lookup(string) (User, error) { return User{}, ErrUnsupported }

// Self refuses: sessions are not supported here yet.
func Self() (User, error) { return User{}, ErrUnsupported }

// IsRoot reports whether programs of u have all rights.
func (u User) IsRoot() bool { return u.uid == 0 && u.self }

type impl struct{}

// Start refuses: sessions are not supported here yet.
func Start(Spec, User) (*Process, error) { return nil, ErrUnsupported }

// Done is never closed: nothing was started.
func (p *Process) Done() <-chan struct{} { return nil }

// Exit is that of nothing.
func (p *Process) Exit() Exit { return Exit{} }

// Close does nothing.
func (p *Process) Close() {}

// Resize refuses.
func (p *Process) Resize(Size) error { return ErrUnsupported }

// Signal refuses.
func (p *Process) Signal(string) error { return ErrUnsupported }

// CloseInput does nothing.
func (p *Process) CloseInput() {}

// Kill does nothing.
func (p *Process) Kill(time.Duration) {}
