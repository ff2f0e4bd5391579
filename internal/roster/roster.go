package roster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Device is one key of a member, as the roster describes it.
type Device struct {
	Kid       key.Kid
	Public    key.Public
	Recipient key.Recipient
	MemberID  string
	Email     string
	Roles     []string // of the member; do not change
	Admin     bool     // its signature counts toward the threshold
	Exp       time.Time
}

// An Agent is one machine's key, as the roster describes it.
type Agent struct {
	Kid       key.Kid
	Public    key.Public
	Recipient key.Recipient
	Name      string
	Tags      map[string]string // do not change
	LoginUser string
	Exp       time.Time
}

type member struct {
	id, email string
	roles     []string
}

type device struct {
	DeviceBody
	memberID  string
	admin     bool
	suspended bool
}

// A Roster is an immutable snapshot of a team. All methods are safe for
// concurrent use.
type Roster struct {
	genesis    []byte
	fp         envelope.Hash
	teamID     string
	demo       bool
	created    int64
	threshold  uint64
	statements [][]byte // envelopes; number n is at n-1
	hashes     []envelope.Hash
	lastTime   int64

	members map[string]member
	emails  map[string]string // e-mail to member id
	devices map[key.Kid]device
	agents  map[key.Kid]AgentAdd
	names   map[string]key.Kid // agents that are not revoked
	revoked map[key.Kid]string // reason
	// enrollers are the devices that admins have ever let add machines.
	enrollers map[key.Kid]delegation
	keys      map[key.Kid]key.Public

	servers       ServerKeys
	logKeys       []key.Public // that the audit log has ever had
	restarts      []restart
	removal       Removal
	considering   *[]Tally // of a clone that judges proposals; nil: signatures are demanded
	until         int64    // of a clone that learns: no later statement is taken; 0: any is
	auditors      []key.Recipient
	policy        *policy.Policy
	document      []byte
	policyHash    envelope.Hash
	policyVersion uint64
	runbooks      map[string]Runbook // by name; those taken away, too
	snapshot      *policy.Snapshot
}

// Found signs a genesis with every admin device that it names.
func Found(g Genesis, by ...key.Identity) ([]byte, error) {
	g.V = Version
	b, err := envelope.Sign(contextGenesis, g, by...)
	if err != nil {
		return nil, err
	}
	if _, err := Open(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Open checks a genesis and gives the roster that holds it alone. Whoever calls
// it compares TeamFP with the fingerprint it pins.
func Open(genesis []byte) (*Roster, error) {
	u, err := envelope.Parse(genesis)
	if err != nil {
		return nil, fmt.Errorf("roster: genesis: %w", err)
	}
	var g Genesis
	if err := envelope.Unmarshal(u.InsecurePayload(), &g); err != nil {
		return nil, fmt.Errorf("roster: genesis: %w", err)
	}
	if g.V != Version {
		return nil, fmt.Errorf("%w: genesis version %d is not known here; update TucDesk", ErrRefused, g.V)
	}
	if err := checkName("team id", g.TeamID); err != nil {
		return nil, err
	}
	r := &Roster{
		genesis: slices.Clone(genesis),
		fp:      envelope.Sum(u.InsecurePayload()),
		teamID:  g.TeamID, demo: g.Demo, created: g.Created, lastTime: g.Created,
		members: map[string]member{}, emails: map[string]string{},
		devices: map[key.Kid]device{}, agents: map[key.Kid]AgentAdd{},
		names: map[string]key.Kid{}, revoked: map[key.Kid]string{}, keys: map[key.Kid]key.Public{},
		enrollers: map[key.Kid]delegation{}, runbooks: map[string]Runbook{},
	}
	if len(g.Admins) == 0 || len(g.Admins) > envelope.MaxSignatures {
		return nil, fmt.Errorf("%w: a genesis names 1 to %d admin devices", ErrRefused, envelope.MaxSignatures)
	}
	for _, a := range g.Admins {
		if err := r.addAdmin(a); err != nil {
			return nil, err
		}
	}
	if err := r.setThreshold(g.Threshold); err != nil {
		return nil, err
	}
	v, err := u.Verify(contextGenesis, r.Key)
	if err != nil {
		return nil, fmt.Errorf("roster: genesis: %w", err)
	}
	if len(v.Signers()) != len(r.devices) {
		return nil, fmt.Errorf("%w: each admin device signs the genesis", ErrThreshold)
	}
	r.freeze()
	return r, nil
}

// Load opens a genesis and applies statements in order.
func Load(genesis []byte, statements ...[]byte) (*Roster, error) {
	r, err := Open(genesis)
	if err != nil {
		return nil, err
	}
	return r.Apply(statements...)
}

// Apply gives the snapshot after the statements, in order, passing over those
// that r holds already. r itself never changes. If any statement is refused, the error is returned with the snapshot
// before it, so that what was good is kept.
func (r *Roster) Apply(statements ...[]byte) (*Roster, error) { return r.apply(0, statements) }

// MaxAhead is how far a statement may be dated ahead of the clock of who learns it.
const MaxAhead = 24 * time.Hour

// Learn is Apply for statements that are new, by the clock of whoever keeps the roster:
// one that is dated more than MaxAhead after now is ErrEarly, and becomes good with time.
// Signers count by a statement's own time, which never goes back: whoever could date one
// as far ahead as their own key lasts would have all others' keys expire.
func (r *Roster) Learn(now time.Time, statements ...[]byte) (*Roster, error) {
	return r.apply(now.Add(MaxAhead).Unix(), statements)
}

func (r *Roster) apply(until int64, statements [][]byte) (*Roster, error) {
	if len(statements) == 0 {
		return r, nil
	}
	n := r.clone()
	n.until = until
	var err error
	for _, s := range statements {
		if err = n.applyOne(s); err != nil {
			break
		}
	}
	n.until = 0
	n.freeze()
	return n, err
}

func (r *Roster) clone() *Roster {
	n := *r
	n.statements = slices.Clip(r.statements)
	n.hashes = slices.Clip(r.hashes)
	n.members = maps.Clone(r.members)
	n.emails = maps.Clone(r.emails)
	n.devices = maps.Clone(r.devices)
	n.agents = maps.Clone(r.agents)
	n.names = maps.Clone(r.names)
	n.revoked = maps.Clone(r.revoked)
	n.enrollers = maps.Clone(r.enrollers)
	n.keys = maps.Clone(r.keys)
	n.runbooks = maps.Clone(r.runbooks)
	n.logKeys = slices.Clip(r.logKeys)
	n.restarts = slices.Clip(r.restarts)
	return &n
}

// freeze derives what Snapshot hands out.
func (r *Roster) freeze() {
	s := &policy.Snapshot{Policy: r.policy, Version: r.policyVersion, Hash: r.policyHash}
	live := map[string]bool{}
	for kid, d := range r.devices {
		if _, gone := r.revoked[kid]; !gone && !d.suspended {
			live[d.memberID] = true
		}
	}
	for id, m := range r.members {
		if live[id] {
			s.People = append(s.People, policy.Person{MemberID: id, Email: m.email, Roles: m.roles})
		}
	}
	slices.SortFunc(s.People, func(a, b policy.Person) int { return strings.Compare(a.MemberID, b.MemberID) })
	r.snapshot = s
}

// Next signs a statement of the given kind on top of this head. The result may
// still lack signatures: a Proposal collects them.
func (r *Roster) Next(at time.Time, kind Kind, body any, by ...key.Identity) ([]byte, error) {
	b, err := envelope.Marshal(body)
	if err != nil {
		return nil, err
	}
	return envelope.Sign(contextStatement, statement{
		V: Version, TeamFP: r.fp, Seq: r.Head().Seq + 1, Prev: r.Head().Hash,
		Time: max(at.Unix(), r.lastTime), Kind: kind, Body: b,
	}, by...)
}

// TeamFP is the SHA-256 of the genesis: the identity that everyone pins.
func (r *Roster) TeamFP() envelope.Hash { return r.fp }

// TeamID is the team's routing name. It proves nothing.
func (r *Roster) TeamID() string { return r.teamID }

// Demo reports whether this is a demo's team, which real agents refuse.
func (r *Roster) Demo() bool { return r.demo }

// Genesis gives the envelope that Open read.
func (r *Roster) Genesis() []byte { return r.genesis }

// Head names this state.
func (r *Roster) Head() Head {
	if n := len(r.hashes); n > 0 {
		return Head{Seq: uint64(n), Hash: r.hashes[n-1]}
	}
	return Head{Hash: r.fp}
}

// Knows reports whether h is this head or one that this roster has passed.
func (r *Roster) Knows(h Head) bool {
	if h.Seq == 0 {
		return h.Hash == r.fp
	}
	return h.Seq <= uint64(len(r.hashes)) && r.hashes[h.Seq-1] == h.Hash
}

// Statements gives the envelopes after number seq, in order.
func (r *Roster) Statements(after uint64) [][]byte {
	if after >= uint64(len(r.statements)) {
		return nil
	}
	return slices.Clone(r.statements[after:])
}

// Recent gives the newest statements, oldest first: what travels with a bundle to an
// agent that may lack them.
func (r *Roster) Recent() [][]byte {
	const maxCount, maxBytes = 8, 16 << 10
	head := r.Head().Seq
	all := r.Statements(head - min(head, maxCount))
	sum := 0
	for i, s := range slices.Backward(all) {
		if sum += len(s); sum > maxBytes {
			return all[i+1:]
		}
	}
	return all
}

// Key gives any key that ever stood in this roster, also a revoked one: to
// verify what it signed long ago. It says nothing about validity now.
func (r *Roster) Key(k key.Kid) (key.Public, bool) {
	p, ok := r.keys[k]
	return p, ok
}

// Device gives a device that may act at the given time, or ErrUnknown,
// ErrRevoked or ErrExpired.
func (r *Roster) Device(k key.Kid, at time.Time) (Device, error) {
	d, ok := r.devices[k]
	if !ok {
		return Device{}, fmt.Errorf("%w device %s", ErrUnknown, k.Short())
	}
	if err := r.live(k, d.Exp, at); err != nil {
		return Device{}, err
	}
	if d.suspended {
		return Device{}, fmt.Errorf("%w: admin device %s is suspended", ErrRevoked, k.Short())
	}
	return r.describe(k, d), nil
}

// EverDevice gives a device whether or not it may act now: to name who signed
// old evidence.
func (r *Roster) EverDevice(k key.Kid) (Device, bool) {
	d, ok := r.devices[k]
	if !ok {
		return Device{}, false
	}
	return r.describe(k, d), true
}

func (r *Roster) describe(k key.Kid, d device) Device {
	m := r.members[d.memberID]
	return Device{
		Kid: k, Public: d.Public, Recipient: d.Recipient, MemberID: m.id, Email: m.email,
		Roles: m.roles, Admin: d.admin, Exp: time.Unix(d.Exp, 0).UTC(),
	}
}

func (r *Roster) live(k key.Kid, exp int64, at time.Time) error {
	if why, gone := r.revoked[k]; gone {
		return fmt.Errorf("%w: key %s (%s)", ErrRevoked, k.Short(), why)
	}
	if at.Unix() >= exp {
		return fmt.Errorf("%w: key %s was valid until %s; an admin must renew it", ErrExpired, k.Short(), time.Unix(exp, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// Agent gives a machine that may act at the given time, or ErrUnknown,
// ErrRevoked or ErrExpired.
func (r *Roster) Agent(k key.Kid, at time.Time) (Agent, error) {
	a, ok := r.agents[k]
	if !ok {
		return Agent{}, fmt.Errorf("%w agent %s", ErrUnknown, k.Short())
	}
	if err := r.live(k, a.Exp, at); err != nil {
		return Agent{}, err
	}
	return describeAgent(k, a), nil
}

// EverAgent gives a machine whether or not it may act now.
func (r *Roster) EverAgent(k key.Kid) (Agent, bool) {
	a, ok := r.agents[k]
	return describeAgent(k, a), ok
}

func describeAgent(k key.Kid, a AgentAdd) Agent {
	return Agent{
		Kid: k, Public: a.Public, Recipient: a.Recipient, Name: a.Name, Tags: a.Tags,
		LoginUser: a.LoginUser, Exp: time.Unix(a.Exp, 0).UTC(),
	}
}

// AgentNamed resolves a name to the one machine that bears it.
func (r *Roster) AgentNamed(name string, at time.Time) (Agent, error) {
	k, ok := r.names[name]
	if !ok && sanitize.Name(name) != nil {
		return Agent{}, fmt.Errorf("%w: no machine can have such a name", ErrUnknown) // and it is not repeated
	}
	if !ok {
		return Agent{}, fmt.Errorf("%w: no machine of this team is named %q", ErrUnknown, name)
	}
	return r.Agent(k, at)
}

// Agents gives the machines that are not revoked, in order of name.
func (r *Roster) Agents() []Agent {
	as := make([]Agent, 0, len(r.names))
	for _, k := range r.names {
		as = append(as, describeAgent(k, r.agents[k]))
	}
	slices.SortFunc(as, func(a, b Agent) int { return strings.Compare(a.Name, b.Name) })
	return as
}

// Devices gives the devices that are neither revoked nor suspended, in order of
// e-mail and key id.
func (r *Roster) Devices() []Device {
	var ds []Device
	for k, d := range r.devices {
		if _, gone := r.revoked[k]; !gone && !d.suspended {
			ds = append(ds, r.describe(k, d))
		}
	}
	slices.SortFunc(ds, func(a, b Device) int {
		if c := strings.Compare(a.Email, b.Email); c != 0 {
			return c
		}
		return slices.Compare(a.Kid[:], b.Kid[:])
	})
	return ds
}

// Threshold is k, the admin signatures that widen power.
func (r *Roster) Threshold() int { return int(r.threshold) }

// ServerKey gives a key that servers may use for the purpose now.
func (r *Roster) ServerKey(p Purpose, k key.Kid) (key.Public, bool) {
	for _, pub := range r.servers.of(p) {
		if pub.Kid() == k {
			return pub, true
		}
	}
	return key.Public{}, false
}

// ServerKeys gives the keys that servers may use for the purpose now.
func (r *Roster) ServerKeys(p Purpose) []key.Public { return slices.Clone(r.servers.of(p)) }

// LogKeys gives every key that has ever been the audit log's: to verify what it has
// signed at any time.
func (r *Roster) LogKeys() []key.Public { return slices.Clone(r.logKeys) }

// A Removal is a statement that has taken a key's rights away.
type Removal struct {
	Seq  uint64 // of the statement; 0: nobody was ever removed
	What string // whose key it was
}

// Removal gives the newest one. Who has its statement has those before it.
func (r *Roster) Removal() Removal { return r.removal }

// restart is a Restart with the number of its statement.
type restart struct {
	Restart
	seq uint64
}

// Restarts gives the states from which admins have let the audit log go on, in order.
func (r *Roster) Restarts() []Restart {
	out := make([]Restart, len(r.restarts))
	for i, s := range r.restarts {
		out[i] = s.Restart
	}
	return out
}

// Run counts the restarts of the audit log up to a statement.
func (r *Roster) Run(seq uint64) (n int) {
	for _, s := range r.restarts {
		if s.seq <= seq {
			n++
		}
	}
	return n
}

// Relays gives the relays (host:port) that sessions of this team may use.
func (r *Roster) Relays() []string { return slices.Clone(r.servers.Relays) }

// Auditors gives the recipients of commands and recordings.
func (r *Roster) Auditors() []key.Recipient { return slices.Clone(r.auditors) }

// PolicyHash is the hash of the policy document; zero before the first one.
func (r *Roster) PolicyHash() envelope.Hash { return r.policyHash }

// PolicyVersion counts the policies of this team; zero before the first one.
func (r *Roster) PolicyVersion() uint64 { return r.policyVersion }

// Snapshot gives what policy.Evaluate judges with. Before the first policy it
// denies everything.
func (r *Roster) Snapshot() *policy.Snapshot { return r.snapshot }

// Request makes a policy request of roster facts: the one place where they meet.
// argv is nil where the command is not known.
func (r *Roster) Request(d Device, a Agent, kind policy.Kind, as string, argv []string, at time.Time) *policy.Request {
	return &policy.Request{
		Member: d.Email, MemberID: d.MemberID, Roles: d.Roles,
		Target: a.Name, Tags: a.Tags, LoginUser: a.LoginUser,
		Kind: kind, As: as, Argv: argv, At: at,
	}
}

// Approvers gives the devices that may decide on what v holds: of every
// eligible member but the requester, valid at the given time.
func (r *Roster) Approvers(v policy.Verdict, requesterID string, at time.Time) []Device {
	may := map[string]bool{}
	for _, p := range r.snapshot.EligibleApprovers(v, requesterID) {
		may[p.MemberID] = p.MemberID != requesterID
	}
	var ds []Device
	for _, d := range r.Devices() {
		if may[d.MemberID] && at.Before(d.Exp) {
			ds = append(ds, d)
		}
	}
	return ds
}
