// Package events tells members' devices, by server-sent events, that it is time
// to ask again.
//
// Invariants:
//   - an event is a hint: ids and states, never a name, a command or a signature;
//   - a device is told of what it could see if it asked, by the roster as it
//     stands when it is told; ids of events are random, so that they do not count
//     what was not told;
//   - an event is published after its change was committed;
//   - a stream ends with its access token, and with its device's place on the
//     roster;
//   - streams of a device, of a team and in total are bounded. A stream holds no
//     queue: a reader that falls behind what its team keeps is told that
//     everything may have changed, and one that takes nothing is cut.
//
// The package must not import internal/store.
package events

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Bounds of streams, and of what is kept for those that come back.
const (
	maxStreams = 4096
	maxTeam    = 1024 // streams of one team
	maxDevice  = 4
	kept       = 64   // events of one team
	maxLogs    = 4096 // teams whose events are kept without a stream
	maxNamed   = 32   // agents that are told of one by one
)

const (
	heartbeat = wire.Heartbeat * time.Second
	// pause is the least time between two looks of one stream: what comes
	// faster is sent together.
	pause = 100 * time.Millisecond
	// askWithin bounds one look at the roster.
	askWithin = 10 * time.Second
)

// An Event is what a hub takes. The hub gives it its stamp.
type Event struct {
	wire.Event
	// Sees reports whether a caller is told; nil: everybody in the team is.
	Sees func(c *door.Caller) bool
}

// A Hub is safe for concurrent use.
type Hub struct {
	again func(context.Context, door.Caller) (door.Caller, error)
	now   func() time.Time

	mu      sync.Mutex
	logs    map[string]*log // by team
	devices map[key.Kid]int // streams
	n       int             // streams
	closed  bool
	ended   chan struct{} // closed by Close
}

// A log is the latest events of a team that somebody listened to.
type log struct {
	streams int
	members map[string]int // streams of each
	first   token.ID       // the place before events[0]
	events  []Event        // at most kept, newest last
	changed chan struct{}
}

// New makes a hub. again gives a caller as the roster has them now, and an error
// when they are not on it any more.
func New(again func(context.Context, door.Caller) (door.Caller, error), now func() time.Time) *Hub {
	return &Hub{
		again: again, now: now, logs: make(map[string]*log), devices: make(map[key.Kid]int), ended: make(chan struct{}),
	}
}

// Close ends all streams, and refuses further ones.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.ended)
	}
}

// Teams gives the teams that somebody listens to, sorted.
func (h *Hub) Teams() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var teams []string
	for team, l := range h.logs {
		if l.streams > 0 {
			teams = append(teams, team)
		}
	}
	slices.Sort(teams)
	return teams
}

// Members gives the members of a team that listen now.
func (h *Hub) Members(team string) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	online := make(map[string]bool)
	if l := h.logs[team]; l != nil {
		for member := range l.members {
			online[member] = true
		}
	}
	return online
}

// Publish tells a team's streams of events. It does not wait for them.
func (h *Hub) Publish(team string, list ...Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.logs[team]
	if l == nil || len(list) == 0 {
		return // nobody listened yet, so nobody can come back
	}
	for _, e := range list {
		e.Stamp = token.NewID()
		l.events = append(l.events, e)
	}
	if over := len(l.events) - kept; over > 0 {
		l.first = l.events[over-1].Stamp
		l.events = slices.Delete(l.events, 0, over)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// A stream is one device that listens.
type stream struct {
	hub    *Hub
	log    *log
	caller door.Caller
	last   token.ID // how far it was told; zero, or unknown: not known
	seq    uint64   // the roster that it was told of, or began with
}

// PublishAgents tells a team's streams which agents have come or gone.
func (h *Hub) PublishAgents(team string, agents []wire.AgentState) {
	if len(agents) > maxNamed {
		agents = []wire.AgentState{{}}
	}
	var list []Event
	for _, a := range agents {
		list = append(list, Event{Event: wire.Event{Kind: wire.EventAgent, Kid: a.Kid, State: a.State}})
	}
	h.Publish(team, list...)
}

// Serve gives the stream of a request. It refuses beyond the bounds.
func (h *Hub) Serve(_ context.Context, r *door.Request) (door.Feed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := r.Caller
	l := h.logs[c.Team]
	switch {
	case h.closed:
		return nil, wire.NewProblem(wire.KindUnavailable, "apid is about to stop", "try again")
	case h.n >= maxStreams, h.devices[c.Kid] >= maxDevice, l != nil && l.streams >= maxTeam:
		return nil, door.TooMany()
	case l == nil:
		h.makeRoom()
		l = &log{first: token.NewID(), changed: make(chan struct{}), members: make(map[string]int)}
		h.logs[c.Team] = l
	}
	l.streams++
	l.members[c.Device.MemberID]++
	h.n++
	h.devices[c.Kid]++
	s := &stream{hub: h, log: l, caller: c, seq: c.Roster.Head().Seq}
	// What is no id is as unknown as an old one.
	s.last, _ = token.ParseID(r.HTTP.Header.Get(wire.HeaderLastEvent))
	return s.run, nil
}

// makeRoom forgets the events of a team that nobody listens to, where too many
// are kept. Who comes back to it is told that everything may have changed.
func (h *Hub) makeRoom() {
	if len(h.logs) < maxLogs {
		return
	}
	for team, l := range h.logs {
		if l.streams == 0 {
			delete(h.logs, team)
			return
		}
	}
}

func (s *stream) leave() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.log.streams--
	member := s.caller.Device.MemberID
	if s.log.members[member]--; s.log.members[member] == 0 {
		delete(s.log.members, member)
	}
	h.n--
	if h.devices[s.caller.Kid]--; h.devices[s.caller.Kid] == 0 {
		delete(h.devices, s.caller.Kid)
	}
}

// read gives what came since the last read, and a channel that is closed when
// more does.
func (s *stream) read() ([]Event, <-chan struct{}) {
	h, l := s.hub, s.log
	h.mu.Lock()
	defer h.mu.Unlock()
	from := -1
	if s.last == l.first {
		from = 0
	}
	for i := len(l.events) - 1; i >= 0 && from < 0; i-- {
		if l.events[i].Stamp == s.last {
			from = i + 1
		}
	}
	s.last = l.first
	if n := len(l.events); n > 0 {
		s.last = l.events[n-1].Stamp
	}
	if from < 0 {
		return []Event{{Event: wire.Event{Stamp: s.last, Kind: wire.EventReset}}}, l.changed
	}
	return slices.Clone(l.events[from:]), l.changed
}

// errEnded means that a stream is over for a reason that is no fault.
var errEnded = errors.New("events: the access token has ended")

// look reads the roster again: who the caller is now, and whether they still are.
func (s *stream) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if !s.hub.now().Before(s.caller.Until) {
		return errEnded
	}
	c, err := s.hub.again(ctx, s.caller)
	if err == nil {
		s.caller = c
	}
	return err
}

// run is a door.Feed.
func (s *stream) run(ctx context.Context, send func([]byte) error) error {
	defer s.leave()
	end := time.NewTimer(s.caller.Until.Sub(s.hub.now()))
	defer end.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for look, out := true, []byte(": hello\n\n"); ; {
		list, changed := s.read()
		look = look || slices.ContainsFunc(list, func(e Event) bool { return e.Kind == wire.EventRoster })
		if look {
			if err := s.look(ctx); err != nil {
				return err
			}
		} else if !s.hub.now().Before(s.caller.Until) {
			return errEnded
		}
		if out = s.tell(out, list); len(out) > 0 {
			if err := send(out); err != nil {
				return err
			}
		}
		look, out = false, nil
		// What comes within the pause is sent together.
		if err := s.wait(ctx, end.C, nil, time.After(pause)); err != nil {
			return err
		}
		select {
		case <-changed:
		default:
			if err := s.wait(ctx, end.C, changed, beat.C); err != nil {
				return err
			}
			select {
			case <-changed:
			default:
				look, out = true, []byte(": alive\n\n")
			}
		}
	}
}

// tell appends what the caller may see of a list. A roster that another process
// has written is told too.
func (s *stream) tell(out []byte, list []Event) []byte {
	for _, e := range list {
		if e.Sees == nil || e.Sees(&s.caller) {
			out = wire.AppendEvent(out, e.Event)
		}
		if e.Kind == wire.EventRoster {
			s.seq = max(s.seq, e.Seq)
		}
	}
	if seq := s.caller.Roster.Head().Seq; seq > s.seq {
		s.seq = seq
		out = wire.AppendEvent(out, wire.Event{Stamp: s.last, Kind: wire.EventRoster, Seq: seq})
	}
	return out
}

// wait waits for a change or a time. Its error is the end of the stream.
func (s *stream) wait(ctx context.Context, end <-chan time.Time, changed <-chan struct{}, timer <-chan time.Time) error {
	select {
	case <-changed:
	case <-timer:
	case <-end:
		return errEnded
	case <-s.hub.ended:
		return errors.New("events: apid stops")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
