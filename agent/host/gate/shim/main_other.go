//go:build !linux

package shim

// Main answers ErrShim: there is no exec gate on this system.
func Main() error { return ErrShim }
