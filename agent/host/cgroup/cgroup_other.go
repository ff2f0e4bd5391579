//go:build unix && !linux

package cgroup

import (
	"errors"
	"os"
	"syscall"

	"github.com/tucdesk/tucdesk/internal/token"
)

// Groups are control groups, which this system does not have: nil.
type Groups struct{}

// New says that there are none.
func New(string) (*Groups, error) {
	return nil, errors.New("cgroup: this system has no control groups")
}

func (*Groups) Make(token.ID) (*os.File, error) { return nil, nil }
func (*Groups) End(token.ID)                    {}
func Into(*syscall.SysProcAttr, *os.File)       {}

// EndOwn does nothing.
func EndOwn() {}

// Sweep does nothing.
func (*Groups) Sweep(func(token.ID) bool) {}
