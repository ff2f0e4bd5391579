package team

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/words"
)

// ErrNobody means that nobody waits under these words, this key or this token.
var ErrNobody = errors.New("team: nobody waits there; is the other side still waiting, at the same servers, and is the text whole?")

// A Control is the control plane of a home: a *control.Backend.
type Control interface {
	Client() *wire.Client
	Home() *profile.Home
	// Sync gives the newest roster.
	Sync(context.Context) (*roster.Roster, error)
}

// An Admin changes a team's roster with this device's key.
type Admin struct {
	Control
	Tell func(sanitize.Text) // progress, in words
}

// conflicts bounds the tries of a change while others change the roster too.
const conflicts = 5

// Sign makes statements on top of the newest roster and gives them to apid, all
// or none, and to the rendezvous, which tells the agents. The changes are made
// anew for each roster that is tried. Where more admins must sign it proposes them, and
// answers *ProposedError.
func (a *Admin) Sign(ctx context.Context, changes func(*roster.Roster) ([]roster.Change, error)) (*roster.Roster, error) {
	for try := 1; ; try++ {
		r, err := a.newest(ctx)
		if err != nil {
			return nil, err
		}
		list, err := changes(r)
		if err != nil || len(list) == 0 {
			return r, err
		}
		p, err := r.Propose(time.Now(), a.Home().Identity, list...)
		if err != nil {
			return nil, err
		}
		if _, err := r.Apply(p.Statements...); errors.Is(err, roster.ErrThreshold) {
			return nil, a.propose(ctx, r, p, err)
		} else if err != nil {
			return nil, err // what would not hold here is not sent
		}
		r, err = a.publish(ctx, p)
		if errors.Is(err, wire.ErrConflict) && try < conflicts {
			continue
		}
		return r, err
	}
}

// publish gives statements that are signed by enough to apid and to the rendezvous.
func (a *Admin) publish(ctx context.Context, p roster.Proposal) (*roster.Roster, error) {
	if p.Restarts() {
		return a.restart(ctx, p)
	}
	if _, err := a.Client().AppendStatements(ctx, p.Statements...); err != nil {
		return nil, err
	}
	r, err := a.Home().Learn(p.Statements)
	if err != nil {
		return nil, err
	}
	if _, err := a.Client().PushStatements(ctx, a.Home().Profile.Rendezvous, p.Statements...); err != nil {
		a.Tell(sanitize.Clean("the rendezvous did not take the change; agents will have it within a minute from apid: " + err.Error()))
	}
	return r, nil
}

// newest asks apid, whatever was asked just now.
func (a *Admin) newest(ctx context.Context) (*roster.Roster, error) {
	if _, err := a.Sync(ctx); err != nil {
		return nil, err
	}
	r, err := fetch(ctx, a.Client(), a.Home().Roster())
	if err != nil {
		return nil, err
	}
	if r, err = a.Home().Learn(r.Statements(a.Home().Roster().Head().Seq)); err != nil {
		return nil, err
	}
	return r, a.Home().Behind()
}

// find looks under a meeting's topic, at a server, for a request that is the one
// that was meant. It waits for it as long as ctx lives. When others are there
// and the one is not, the error says what is wrong with them.
func (a *Admin) find(ctx context.Context, server string, m contact.Meeting, wait time.Duration) (contact.VerifiedRequest, token.ID, error) {
	end := time.Now().Add(wait)
	seen := map[token.ID]bool{}
	for {
		list, err := a.Client().Newcomers(ctx, server, m.Topic(), len(seen), time.Until(end))
		if err != nil {
			return contact.VerifiedRequest{}, token.ID{}, err
		}
		var no error
		for _, n := range list {
			seen[n.ID] = true
			r, err := m.Read(n.Request)
			if err == nil {
				return r, n.ID, nil
			}
			no = errors.Join(no, err)
		}
		if no != nil {
			return contact.VerifiedRequest{}, token.ID{}, no
		}
		if !time.Now().Before(end) {
			return contact.VerifiedRequest{}, token.ID{}, ErrNobody
		}
	}
}

// answer tells a newcomer which team has taken it.
func (a *Admin) answer(ctx context.Context, server string, m contact.Meeting, to contact.VerifiedRequest, id token.ID, name string, r *roster.Roster) error {
	b, err := m.Answer(to, contact.Answer{Card: a.Home().Profile.Card(r), Genesis: r.Genesis(), Name: name})
	if err != nil {
		return err
	}
	return a.Client().AnswerNewcomer(ctx, server, id, b)
}

// A Member is whom AddDevice adds, or adds a device to.
type Member struct {
	Email string
	Roles []string
	Admin bool
}

// AddDevice signs a device of a member into the roster: the device with these
// words, that waits at apid and says that it is of this member. A device that
// stands there already is only answered again.
func (a *Admin) AddDevice(ctx context.Context, who Member, phrase words.Phrase, wait time.Duration) (roster.Device, *roster.Roster, error) {
	m := contact.DeviceMeeting(phrase)
	request, id, err := a.find(ctx, "", m, wait)
	if err != nil {
		return roster.Device{}, nil, err
	}
	b := request.Body()
	if b.Email != who.Email {
		return roster.Device{}, nil, fmt.Errorf("%w: the device with these words says that it is of %s", contact.ErrMismatch, sanitize.Clean(b.Email))
	}
	body := roster.DeviceBody{Public: b.Public, Recipient: b.Recipient, Exp: time.Now().Add(KeyLife).Unix()}
	r, err := a.Sign(ctx, func(r *roster.Roster) ([]roster.Change, error) {
		if d, ok := r.EverDevice(b.Public.Kid()); ok {
			if _, err := r.Device(d.Kid, time.Now()); err != nil {
				return nil, err
			}
			if d.Email != who.Email {
				return nil, fmt.Errorf("team: this device stands in the roster for %s", sanitize.Clean(d.Email))
			}
			return nil, nil
		}
		return memberChanges(r, who, body)
	})
	if err != nil {
		return roster.Device{}, nil, err
	}
	d, _ := r.EverDevice(b.Public.Kid())
	return d, r, a.answer(ctx, "", m, request, id, who.Email, r)
}

func memberChanges(r *roster.Roster, who Member, body roster.DeviceBody) ([]roster.Change, error) {
	known, isMember := r.Person(who.Email)
	id := known.MemberID
	if !isMember {
		id = newMemberID()
	}
	var list []roster.Change
	switch {
	case who.Admin:
		list = append(list, roster.Change{Kind: roster.KindAdminAdd, Body: roster.AdminDevice{MemberID: id, Email: who.Email, Roles: who.Roles, Device: body}})
	case !isMember:
		list = append(list, roster.Change{Kind: roster.KindMemberAdd, Body: roster.MemberAdd{MemberID: id, Email: who.Email, Roles: who.Roles, Device: body}})
	case len(who.Roles) > 0 && !sameRoles(who.Roles, known.Roles):
		return nil, fmt.Errorf("team: %s is a member already, with the roles %s; give no --role to add a device", sanitize.Clean(who.Email), strings.Join(known.Roles, " "))
	default:
		list = append(list, roster.Change{Kind: roster.KindDeviceAdd, Body: roster.DeviceAdd{MemberID: id, Device: body}})
	}
	// Whoever audits must be able to open what is sealed from now on.
	if slices.Contains(who.Roles, "auditor") || slices.Contains(known.Roles, "auditor") {
		list = append(list, roster.Change{Kind: roster.KindRecipients, Body: roster.Recipients{Auditors: append(r.Auditors(), body.Recipient)}})
	}
	return list, nil
}

func sameRoles(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// A Machine is what Pair makes of an agent.
type Machine struct {
	Name      string
	Tags      map[string]string
	LoginUser string // empty: the one that the agent proposes
}

// Pair signs the agent of a pairing key into the roster, and gives it the team.
func (a *Admin) Pair(ctx context.Context, k contact.Key, what Machine, wait time.Duration) (roster.Agent, error) {
	server := a.Home().Profile.Rendezvous
	m := k.Meeting()
	request, id, err := a.find(ctx, server, m, wait)
	if err != nil {
		return roster.Agent{}, err
	}
	b := request.Body()
	if what.LoginUser == "" {
		what.LoginUser = b.User
	}
	if what.LoginUser == "" {
		return roster.Agent{}, errors.New("team: the agent proposes no login user; give --login-user: whom sessions run as unless policy says otherwise")
	}
	r, err := a.Sign(ctx, func(r *roster.Roster) ([]roster.Change, error) {
		if old, ok := r.EverAgent(b.Public.Kid()); ok {
			if _, err := r.Agent(old.Kid, time.Now()); err != nil {
				return nil, err
			}
			if old.Name != what.Name {
				return nil, fmt.Errorf("team: this agent stands in the roster as %s", sanitize.Clean(old.Name))
			}
			return nil, nil
		}
		return []roster.Change{{Kind: roster.KindAgentAdd, Body: agentAdd(b, what)}}, nil
	})
	if err != nil {
		return roster.Agent{}, err
	}
	agent, _ := r.EverAgent(b.Public.Kid())
	return agent, a.answer(ctx, server, m, request, id, agent.Name, r)
}

func agentAdd(b contact.Request, what Machine) roster.AgentAdd {
	return roster.AgentAdd{
		Name: what.Name, Public: b.Public, Recipient: b.Recipient, Tags: what.Tags, LoginUser: what.LoginUser,
		Exp: time.Now().Add(KeyLife).Unix(),
	}
}

// Remove revokes keys: of one device or agent by its key id, of an agent by its
// name, of all devices of a member by the e-mail. It gives what they were, in
// words, and the roster after.
func (a *Admin) Remove(ctx context.Context, whom, reason string) ([]string, *roster.Roster, error) {
	var gone []string
	r, err := a.Sign(ctx, func(r *roster.Roster) ([]roster.Change, error) {
		gone = nil
		var list []roster.Change
		add := func(k key.Kid, admin bool, what string) {
			kind := roster.KindRevoke
			if admin {
				kind = roster.KindAdminRemove
			}
			list = append(list, roster.Change{Kind: kind, Body: roster.Revoke{Kid: k, Reason: reason}})
			gone = append(gone, what+" "+k.Short())
		}
		kid, notKid := key.ParseKid(whom)
		for _, d := range r.Devices() {
			if d.Kid == kid || notKid != nil && d.Email == whom {
				add(d.Kid, d.Admin, "device of "+d.Email)
			}
		}
		for _, m := range r.Agents() {
			if m.Kid == kid || notKid != nil && m.Name == whom {
				add(m.Kid, false, "agent "+m.Name)
			}
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%w: nothing in the roster has this key, e-mail or name; `tucdesk roster show` lists them", roster.ErrUnknown)
		}
		return list, nil
	})
	return gone, r, err
}

// Delegate lets a device add machines by itself.
func (a *Admin) Delegate(ctx context.Context, d roster.Delegation) (*roster.Roster, error) {
	return a.Sign(ctx, func(*roster.Roster) ([]roster.Change, error) {
		return []roster.Change{{Kind: roster.KindDelegate, Body: d}}, nil
	})
}

// RotateServers signs the keys that the servers show now. The old ones stay
// beside them, unless drop is set: a rotation is two calls. confirm shows the
// new keys to a person.
func (a *Admin) RotateServers(ctx context.Context, drop bool, confirm func(wire.ServerInfo) (bool, error)) (*roster.Roster, error) {
	info, err := a.Client().Server(ctx)
	if err != nil {
		return nil, err
	}
	now, err := serverKeys(info)
	if err != nil {
		return nil, err
	}
	if yes, err := confirm(info); err != nil || !yes {
		return nil, errors.Join(ErrNotConfirmed, err)
	}
	return a.Sign(ctx, func(r *roster.Roster) ([]roster.Change, error) {
		next := now
		if !drop {
			for p, list := range map[roster.Purpose]*[]key.Public{
				roster.ServerGrant: &next.Grant, roster.ServerToken: &next.Token, roster.ServerLog: &next.Log, roster.ServerRendezvous: &next.Rendezvous,
			} {
				*list = overlap(*list, r.ServerKeys(p))
			}
			for _, relay := range r.Relays() {
				if !slices.Contains(next.Relays, relay) {
					next.Relays = append(slices.Clip(next.Relays), relay)
				}
			}
		}
		return []roster.Change{{Kind: roster.KindServerKeys, Body: next}}, nil
	})
}

// overlap gives the new key and, after it, the one that it replaces.
func overlap(now, before []key.Public) []key.Public {
	for _, old := range before {
		if len(now) < 2 && !slices.Contains(now, old) {
			now = append(slices.Clip(now), old)
		}
	}
	return now
}

// Confirmations says which agents have signed that they have a roster head at or
// after one: those that are online, and those that were within the life of this
// value.
type Confirmations struct {
	admin  *Admin
	of     *roster.Roster // whose agents are counted, and whose head
	newest *roster.Roster
	have   map[key.Kid]bool
}

// Confirmations begins to count for the head of a roster.
func (a *Admin) Confirmations(r *roster.Roster) *Confirmations {
	return &Confirmations{admin: a, of: r, newest: r, have: map[key.Kid]bool{}}
}

// Count asks the rendezvous once, and gives how many have confirmed and the names
// of those that have not.
func (c *Confirmations) Count(ctx context.Context) (confirmed int, missing []string, err error) {
	agents := c.of.Agents()
	var ask []key.Kid
	for _, m := range agents {
		if !c.have[m.Kid] {
			ask = append(ask, m.Kid)
		}
	}
	for part := range slices.Chunk(ask, wire.MaxAgents) {
		receipts, rerr := c.admin.Client().Receipts(ctx, c.admin.Home().Profile.Rendezvous, part)
		if rerr == nil && len(receipts) != len(part) {
			rerr = errors.New("team: the rendezvous answers for other agents than it was asked about")
		}
		if rerr != nil {
			err = rerr
			break
		}
		for i, b := range receipts {
			if len(b) > 0 && c.confirms(ctx, part[i], b) {
				c.have[part[i]] = true
			}
		}
	}
	for _, m := range agents {
		if !c.have[m.Kid] {
			missing = append(missing, m.Name)
		}
	}
	return len(agents) - len(missing), missing, err
}

// confirms judges one receipt: only the agent's own signature counts, and only a
// head that leads on from ours.
func (c *Confirmations) confirms(ctx context.Context, kid key.Kid, b []byte) bool {
	agent, ok := c.of.EverAgent(kid)
	if !ok {
		return false
	}
	word, _, ok := token.LastWord(b, agent.Public)
	if !ok {
		return false
	}
	head := roster.Head(word)
	if head.Seq > c.newest.Head().Seq {
		if r, err := c.admin.newest(ctx); err == nil {
			c.newest = r
		}
	}
	return head.Seq >= c.of.Head().Seq && c.newest.Knows(head)
}
