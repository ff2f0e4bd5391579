//go:build unix && !linux

package cell

import (
	"errors"
	"os"
	"syscall"

	"github.com/tucdesk/tucdesk/internal/token"
)

// Groups are control groups, which this system does not have: nil.
type Groups struct{}

// NewGroups says that there are none.
func NewGroups(string) (*Groups, error) {
	return nil, errors.New("cell: this system has no control groups")
}

func (*Groups) make(token.ID) (*os.File, error) { return nil, nil }
func (*Groups) end(token.ID)                    {}
func into(*syscall.SysProcAttr, *os.File)       {}

// endOwn does nothing.
func endOwn() {}

// Sweep does nothing.
func (*Groups) Sweep(func(token.ID) bool) {}
