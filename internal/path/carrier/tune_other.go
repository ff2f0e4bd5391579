//go:build !linux

package carrier

import "net"

// Tune does nothing where the system has no such settings.
func Tune(net.Conn) {}
