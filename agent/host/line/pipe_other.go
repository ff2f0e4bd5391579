//go:build !unix

package line

import "errors"

// makePipe refuses: there are no such pipes.
func makePipe(string) error { return errors.ErrUnsupported }
