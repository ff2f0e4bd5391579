//go:build unix

package host

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/cage"
	"github.com/tucdesk/tucdesk/agent/host/cell"
	"github.com/tucdesk/tucdesk/agent/host/cgroup"
	"github.com/tucdesk/tucdesk/agent/host/halves"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/token"
)

// doorName is the socket in the agent's folder at which session halves find the keeper.
const doorName = "keeper"

// demoAway is how long sessions of a demo outlive its agents.
const demoAway = 20 * time.Second

// checkApart refuses a network half that could not be started.
func checkApart(c Config) error {
	if !c.Apart {
		return nil
	}
	return program(c).Check()
}

func program(c Config) cage.Program {
	return cage.Program{Args: append(slices.Clone(c.Args), NetworkHalf), User: c.NetworkUser, Logger: c.Logger}
}

// apart makes the network half a process of its own, and with Config.Apart each session
// half.
func (h *Host) apart(in *inside, ready func(), end context.CancelCauseFunc) (networkHalf, error) {
	c := h.c
	if h.start == nil {
		h.start = program(c).Start
	}
	n := halves.New(halves.Config{
		Team: c.TeamID, APIURL: c.APIURL, RendezvousURL: c.RendezvousURL, Pins: c.Pins, Demo: c.Demo, Poll: c.Poll, Stores: c.UploadHosts,
		Inside: in, Metrics: h.metrics.Uplink, Online: ready, Fail: end, Logger: c.Logger, Start: h.start,
	})
	in.outside = elsewhere{n}
	if !c.Apart {
		return n, nil
	}
	door, err := filepath.Abs(filepath.Join(c.Dir, doorName))
	if err != nil {
		return nil, err
	}
	groups, err := cgroup.New(door)
	if err != nil {
		c.Logger.Info("sessions have no control groups of their own", "reason", err)
	}
	a := &apartment{s: in.sessions, c: cell.Config{
		Program: cell.Program{Args: append(slices.Clone(c.Args), SessionHalf), Logger: c.Logger},
		Errand:  c.Errand,
		Door:    door, Groups: groups, Logger: c.Logger,
		Adopt: n.Adopt,
	}}
	if in.gate != nil { // each half has its own
		a.c.Gate = c.Gate
		in.gate.Close()
		in.gate = nil
	}
	if c.Demo {
		a.c.Away = demoAway
	}
	in.sessions.cells = a
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

// apartment implements cells.
type apartment struct {
	s    *sessions
	c    cell.Config
	door *cell.Door
}

// celled is a session half in a process of its own.
type celled struct{ *cell.Half }

var errWay = errors.New("host: this path can't be handed to another process")

// Respond implements half.
func (c celled) Respond(ctx context.Context, m live.Handshake, w way) ([]byte, error) {
	to, ok := w.(cell.Way)
	if !ok {
		w.Close()
		return nil, errWay
	}
	return c.Half.Respond(ctx, m, to)
}

// Attach implements half.
func (c celled) Attach(ctx context.Context, m live.Handshake, w way) ([]byte, error) {
	to, ok := w.(cell.Way)
	if !ok {
		w.Close()
		return nil, errWay
	}
	return c.Half.Attach(ctx, m, to)
}

// Move implements half.
func (c celled) Move(ctx context.Context, w way, peer netip.AddrPort) error {
	to, ok := w.(cell.Way)
	if !ok {
		w.Close()
		return errWay
	}
	return c.Half.Move(ctx, to, peer)
}

// pair implements cells.
func (a *apartment) pair() (one, other net.Conn, err error) { return link.Between() }

func (a *apartment) start(d *ward) (half, error) {
	h, err := a.c.Start(d, d.facts(), d.vanished)
	if err != nil {
		return nil, err
	}
	d.hash = h.Hash()
	return celled{h}, nil
}

func (a *apartment) adopt(d *ward, hash [32]byte, sink recorder.Sink) half {
	return celled{a.c.Adopted(d, d.facts(), hash, sink, d.vanished)}
}

// half gives a session's half, for the door.
func (a *apartment) half(id token.ID) *cell.Half {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	d := a.s.live[id]
	if d == nil {
		return nil
	}
	c, _ := d.half.(celled)
	return c.Half
}

func (a *apartment) open() (err error) {
	a.c.Groups.Sweep(func(id token.ID) bool { return a.half(id) != nil })
	a.door, err = a.c.Open(a.half)
	return err
}

func (a *apartment) leave() {
	if a.door != nil {
		a.door.Close()
	}
	a.s.mu.Lock()
	var all []*cell.Half
	for _, d := range a.s.live {
		if c, ok := d.half.(celled); ok {
			all = append(all, c.Half)
		}
	}
	a.s.mu.Unlock()
	for _, h := range all {
		h.Leave()
	}
}

// NetworkMain is the process of a network half.
func NetworkMain() error { return halves.Main() }

// SessionMain is the process of a session half.
func SessionMain() error { return cell.Main() }
