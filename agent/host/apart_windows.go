package host

import (
	"context"

	"github.com/tucdesk/tucdesk/agent/host/process"
)

// checkApart has nothing to check: the agent does not run here.
func checkApart(Config) error { return nil }

func (*Host) apart(*inside, func(), context.CancelCauseFunc) (networkHalf, error) {
	return nil, process.ErrUnsupported
}

func networkMain() error { return process.ErrUnsupported }

func sessionMain() error { return process.ErrUnsupported }
