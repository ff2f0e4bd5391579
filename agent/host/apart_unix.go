//go:build unix

package host

import (
	"context"

	"github.com/tucdesk/tucdesk/agent/host/cage"
	"github.com/tucdesk/tucdesk/agent/host/halves"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// checkApart refuses a network half that could not be started.
func checkApart(c Config) error {
	if c.Network == nil {
		return nil
	}
	return program(c).Check()
}

func program(c Config) cage.Program {
	return cage.Program{Args: c.Network, User: c.NetworkUser, Logger: c.Logger}
}

// apart makes the network half a process of its own.
func (h *Host) apart(in *inside, ready func(), end context.CancelCauseFunc) (networkHalf, error) {
	c := h.c
	if h.start == nil {
		h.start = program(c).Start
	}
	n := halves.New(halves.Config{
		Team: c.TeamID, APIURL: c.APIURL, RendezvousURL: c.RendezvousURL, Pins: c.Pins, Demo: c.Demo, Poll: c.Poll,
		Inside: in, Metrics: h.metrics.uplink, Online: ready, Fail: end, Logger: c.Logger, Start: h.start,
	})
	in.outside = elsewhere{n}
	return n, nil
}

// elsewhere is a network half in another process, as the sessions see it.
type elsewhere struct{ *halves.Network }

// OpenWay implements outside.
func (e elsewhere) OpenWay(ctx context.Context, relay string, c cred.Credential) (way, error) {
	w, err := e.Network.OpenWay(ctx, relay, c)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func networkMain() error { return halves.Main() }
