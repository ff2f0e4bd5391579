package roster

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// applyOne changes r, a private clone, by one statement, or refuses and leaves
// r as it was.
func (r *Roster) applyOne(raw []byte) error {
	u, err := envelope.Parse(raw)
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	var s statement
	if err := envelope.Unmarshal(u.InsecurePayload(), &s); err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	if s.V != Version {
		return fmt.Errorf("%w: statement version %d is not known here; update TucDesk", ErrRefused, s.V)
	}
	if s.TeamFP != r.fp {
		return fmt.Errorf("%w: a statement of another team", ErrRefused)
	}
	head := r.Head()
	switch {
	case s.Seq == 0:
		return fmt.Errorf("%w: number 0 is the genesis", ErrRefused)
	case s.Seq <= head.Seq:
		return r.judgeOld(s, u)
	case s.Seq != head.Seq+1 || s.Prev != head.Hash:
		return fmt.Errorf("%w (number %d, known up to %d)", ErrGap, s.Seq, head.Seq)
	case s.Time < r.lastTime:
		return fmt.Errorf("%w: number %d is dated before the one it follows", ErrRefused, s.Seq)
	}
	v, err := u.Verify(contextStatement, r.Key)
	if err != nil {
		return fmt.Errorf("roster: statement %d: %w", s.Seq, err)
	}
	if r.until != 0 && s.Time > r.until {
		return fmt.Errorf("%w: number %d is dated %s; check the clock of this machine and of who signed it", ErrEarly, s.Seq, time.Unix(s.Time, 0).UTC().Format(time.RFC3339))
	}
	change, err := r.plan(s, v.Signers())
	if err != nil {
		return fmt.Errorf("statement %d (%s): %w", s.Seq, s.Kind, err)
	}
	change()
	r.statements = append(r.statements, slices.Clone(raw))
	r.hashes = append(r.hashes, v.Hash())
	r.lastTime = s.Time
	return nil
}

// judgeOld passes over a repeated statement, and tells it from a fork. Only a
// statement that would have been valid in its place is evidence.
func (r *Roster) judgeOld(s statement, u envelope.Unverified) error {
	if r.hashes[s.Seq-1] == envelope.Sum(u.InsecurePayload()) {
		return nil
	}
	// Only for who could ever have signed one is the roster of then made again: that
	// takes its time, and strangers can send statements, too.
	if _, err := u.Verify(contextStatement, r.Key); err != nil {
		return fmt.Errorf("roster: statement %d: %w", s.Seq, err)
	}
	for _, k := range u.Signers() {
		if _, enrols := r.enrollers[k]; !enrols && !r.devices[k].admin {
			return fmt.Errorf("%w: %s has never been an admin's device", ErrThreshold, k.Short())
		}
	}
	before, err := Load(r.genesis, r.statements[:s.Seq-1]...)
	if err != nil {
		return err
	}
	if _, err := before.Apply(u.Bytes()); err != nil {
		return err
	}
	return &ForkError{Seq: s.Seq, Known: r.statements[s.Seq-1], Second: u.Bytes()}
}

// plan checks a statement's signers and body against r, and gives the change to
// make. It changes nothing itself.
func (r *Roster) plan(s statement, signers []key.Kid) (func(), error) {
	switch s.Kind {
	case KindMemberAdd:
		return planBody(s, func(b MemberAdd) (func(), error) {
			return r.planMember(s, signers, member{b.MemberID, b.Email, b.Roles}, b.Device, false)
		})
	case KindAdminAdd:
		return planBody(s, func(b AdminDevice) (func(), error) {
			return r.planAdmin(s, signers, b)
		})
	case KindDeviceAdd:
		return planBody(s, func(b DeviceAdd) (func(), error) {
			if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
				return nil, err
			}
			if _, ok := r.members[b.MemberID]; !ok {
				return nil, fmt.Errorf("%w: no member has the id %q", ErrRefused, b.MemberID)
			}
			if err := r.checkDevice(b.Device, s.Time); err != nil {
				return nil, err
			}
			return func() { r.putDevice(device{DeviceBody: b.Device, memberID: b.MemberID}) }, nil
		})
	case KindAgentAdd:
		return planBody(s, func(b AgentAdd) (func(), error) { return r.planAgent(s, signers, b) })
	case KindDelegate:
		return planBody(s, func(b Delegation) (func(), error) { return r.planDelegate(s, signers, b) })
	case KindRevoke:
		return planBody(s, func(b Revoke) (func(), error) { return r.planRevoke(s, signers, b) })
	case KindAdminRemove:
		return planBody(s, func(b Revoke) (func(), error) { return r.planAdminRemove(s, signers, b) })
	case KindAdminSuspend:
		return planBody(s, func(b Revoke) (func(), error) { return r.planSuspend(s, signers, b) })
	case KindThreshold:
		return planBody(s, func(b Threshold) (func(), error) {
			if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
				return nil, err
			}
			if b.K < 1 || b.K > uint64(r.countAdmins(key.Kid{})) {
				return nil, fmt.Errorf("%w: the threshold must be 1 to the number of admins (%d)", ErrRefused, r.countAdmins(key.Kid{}))
			}
			return func() { r.threshold = b.K }, nil
		})
	case KindPolicySet:
		return planBody(s, func(b PolicySet) (func(), error) { return r.planPolicy(s, signers, b) })
	case KindRunbookSet:
		return planBody(s, func(b RunbookSet) (func(), error) { return r.planRunbook(s, signers, b) })
	case KindServerKeys:
		return planBody(s, func(b ServerKeys) (func(), error) { return r.planServers(s, signers, b) })
	case KindRestart:
		return planBody(s, func(b Restart) (func(), error) { return r.planRestart(s, signers, b) })
	case KindRecipients:
		return planBody(s, func(b Recipients) (func(), error) {
			if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
				return nil, err
			}
			if len(b.Auditors) > 5 {
				return nil, fmt.Errorf("%w: at most 5 auditors: each makes every sealed command 1.6 KB larger", ErrRefused)
			}
			for _, a := range b.Auditors {
				if a.IsZero() {
					return nil, fmt.Errorf("%w: an auditor without a recipient", ErrRefused)
				}
			}
			return func() { r.auditors = b.Auditors }, nil
		})
	}
	return nil, fmt.Errorf("%w: this kind is not known here; update TucDesk", ErrRefused)
}

func planBody[T any](s statement, plan func(T) (func(), error)) (func(), error) {
	var b T
	if err := envelope.Unmarshal(s.Body, &b); err != nil {
		return nil, fmt.Errorf("roster: %w", err)
	}
	return plan(b)
}

// votes counts the distinct admins among signers whose devices may sign at the
// statement's time. A suspended admin counts only where withSuspended says so,
// and the subject of a statement never counts.
func (r *Roster) votes(at int64, signers []key.Kid, subject key.Kid, withSuspended bool) uint64 {
	seen := map[string]bool{}
	for _, k := range signers {
		d, ok := r.devices[k]
		if _, gone := r.revoked[k]; !ok || gone || !d.admin || at >= d.Exp || k == subject {
			continue
		}
		if d.suspended && !withSuspended {
			continue
		}
		seen[d.memberID] = true
	}
	return uint64(len(seen))
}

func (r *Roster) need(n uint64, s statement, signers []key.Kid, subject key.Kid, withSuspended bool) error {
	got := r.votes(s.Time, signers, subject, withSuspended)
	if r.considering != nil {
		*r.considering = append(*r.considering, Tally{Have: int(got), Need: int(n)})
		return nil
	}
	if got < n {
		return fmt.Errorf("%w: %d of %d admins have signed", ErrThreshold, got, n)
	}
	return nil
}

func (r *Roster) needThreshold(s statement, signers []key.Kid, subject key.Kid) error {
	return r.need(r.threshold, s, signers, subject, false)
}

// countAdmins counts members with an admin device that is not revoked, without
// the given key.
func (r *Roster) countAdmins(without key.Kid) int {
	seen := map[string]bool{}
	for k, d := range r.devices {
		if _, gone := r.revoked[k]; d.admin && !gone && k != without {
			seen[d.memberID] = true
		}
	}
	return len(seen)
}

func (r *Roster) planMember(s statement, signers []key.Kid, m member, d DeviceBody, admin bool) (func(), error) {
	if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
		return nil, err
	}
	if err := r.checkMember(m); err != nil {
		return nil, err
	}
	if err := r.checkDevice(d, s.Time); err != nil {
		return nil, err
	}
	return func() {
		r.members[m.id], r.emails[m.email] = m, m.id
		r.putDevice(device{DeviceBody: d, memberID: m.id, admin: admin})
	}, nil
}

// planAdmin makes an admin of a new member, or of a new device of a member that
// is known under the same e-mail.
func (r *Roster) planAdmin(s statement, signers []key.Kid, b AdminDevice) (func(), error) {
	m, known := r.members[b.MemberID]
	if !known {
		return r.planMember(s, signers, member{b.MemberID, b.Email, withAdmin(b.Roles)}, b.Device, true)
	}
	if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
		return nil, err
	}
	if m.email != b.Email {
		return nil, fmt.Errorf("%w: member %q has another e-mail", ErrRefused, b.MemberID)
	}
	if err := r.checkDevice(b.Device, s.Time); err != nil {
		return nil, err
	}
	if err := checkRoles(b.Roles); err != nil {
		return nil, err
	}
	return func() {
		m.roles = withAdmin(b.Roles)
		r.members[m.id] = m
		r.putDevice(device{DeviceBody: b.Device, memberID: m.id, admin: true})
	}, nil
}

func (r *Roster) planAgent(s statement, signers []key.Kid, b AgentAdd) (func(), error) {
	enroller := key.Kid{}
	if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
		// One signature, by one enroller: nobody adds up delegations.
		if len(signers) != 1 {
			return nil, err
		}
		if no := r.mayEnrol(s, signers[0], b); no != nil {
			if errors.Is(no, errNoEnroller) {
				return nil, err
			}
			return nil, no
		}
		enroller = signers[0]
	}
	if err := checkName("agent name", b.Name); err != nil {
		return nil, err
	}
	if _, taken := r.names[b.Name]; taken {
		return nil, fmt.Errorf("%w: an agent is named %q already; revoke it first", ErrRefused, b.Name)
	}
	if err := checkName("login user", b.LoginUser); err != nil {
		return nil, err
	}
	if len(b.Tags) > maxList {
		return nil, fmt.Errorf("%w: more than %d tags", ErrRefused, maxList)
	}
	for k, v := range b.Tags {
		if err := checkName("tag", k); err != nil {
			return nil, err
		}
		if err := checkName("value of tag "+k, v); err != nil {
			return nil, err
		}
	}
	if err := r.checkKey(b.Public, b.Recipient, b.Exp, s.Time); err != nil {
		return nil, err
	}
	return func() {
		kid := b.Public.Kid()
		r.agents[kid], r.names[b.Name], r.keys[kid] = b, kid, b.Public
		if d, ok := r.enrollers[enroller]; ok {
			d.used++
			r.enrollers[enroller] = d
		}
	}, nil
}

func (r *Roster) planRevoke(s statement, signers []key.Kid, b Revoke) (func(), error) {
	if err := r.need(1, s, signers, key.Kid{}, false); err != nil {
		return nil, err
	}
	if err := checkText("reason", b.Reason); err != nil {
		return nil, err
	}
	d, isDevice := r.devices[b.Kid]
	a, isAgent := r.agents[b.Kid]
	if _, gone := r.revoked[b.Kid]; gone || !isDevice && !isAgent {
		return nil, fmt.Errorf("%w: no valid key has the id %s", ErrRefused, b.Kid)
	}
	if isDevice && d.admin {
		return nil, fmt.Errorf("%w: one admin can only suspend another; admin-remove takes %d", ErrRefused, r.threshold)
	}
	return func() {
		r.revoked[b.Kid] = b.Reason
		r.removal = Removal{s.Seq, r.keyName(b.Kid)}
		if isAgent {
			delete(r.names, a.Name)
		}
	}, nil
}

// planAdminRemove lets suspended admins vote, so that one bad admin who suspends
// all others can still be removed by them.
func (r *Roster) planAdminRemove(s statement, signers []key.Kid, b Revoke) (func(), error) {
	if err := r.need(r.threshold, s, signers, b.Kid, true); err != nil {
		return nil, err
	}
	if err := checkText("reason", b.Reason); err != nil {
		return nil, err
	}
	d, ok := r.devices[b.Kid]
	if _, gone := r.revoked[b.Kid]; !ok || gone || !d.admin {
		return nil, fmt.Errorf("%w: no admin device has the id %s", ErrRefused, b.Kid)
	}
	if uint64(r.countAdmins(b.Kid)) < r.threshold {
		return nil, fmt.Errorf("%w: fewer admins than the threshold (%d) would be left; lower it first", ErrRefused, r.threshold)
	}
	return func() {
		r.revoked[b.Kid] = b.Reason
		r.removal = Removal{s.Seq, r.keyName(b.Kid)}
		// The removed admin's suspensions may have been its attack.
		for k, o := range r.devices {
			if o.suspended && k != b.Kid {
				o.suspended = false
				r.devices[k] = o
			}
		}
	}, nil
}

func (r *Roster) planSuspend(s statement, signers []key.Kid, b Revoke) (func(), error) {
	if err := r.need(1, s, signers, b.Kid, false); err != nil {
		return nil, err
	}
	if err := checkText("reason", b.Reason); err != nil {
		return nil, err
	}
	d, ok := r.devices[b.Kid]
	if _, gone := r.revoked[b.Kid]; !ok || gone || !d.admin || d.suspended {
		return nil, fmt.Errorf("%w: no active admin device has the id %s", ErrRefused, b.Kid)
	}
	return func() {
		d.suspended = true
		r.removal = Removal{s.Seq, r.keyName(b.Kid)}
		r.devices[b.Kid] = d
	}, nil
}

func (r *Roster) planPolicy(s statement, signers []key.Kid, b PolicySet) (func(), error) {
	if len(b.Document) > MaxPolicy {
		return nil, fmt.Errorf("%w: a policy of %d bytes, at most %d", ErrRefused, len(b.Document), MaxPolicy)
	}
	if envelope.Sum(b.Document) != b.Hash {
		return nil, fmt.Errorf("%w: the document does not have the hash it names", ErrRefused)
	}
	if b.Version != r.policyVersion+1 {
		return nil, fmt.Errorf("%w: policy version %d does not follow %d", ErrRefused, b.Version, r.policyVersion)
	}
	p, err := policy.Parse(b.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	n := r.threshold
	if p.Closes(b.Document, r.document) {
		n = 1 // whoever sees an attack may close the doors alone, and open none
	}
	if err := r.need(n, s, signers, key.Kid{}, false); err != nil {
		return nil, err
	}
	return func() { r.policy, r.document, r.policyHash, r.policyVersion = p, b.Document, b.Hash, b.Version }, nil
}

func (r *Roster) planServers(s statement, signers []key.Kid, b ServerKeys) (func(), error) {
	if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
		return nil, err
	}
	if len(b.Relays) > maxList {
		return nil, fmt.Errorf("%w: more than %d relays", ErrRefused, maxList)
	}
	for _, a := range b.Relays {
		if err := checkText("relay", a); err != nil {
			return nil, err
		}
	}
	fresh := map[key.Kid]key.Public{}
	for _, p := range []Purpose{ServerGrant, ServerToken, ServerLog, ServerRendezvous} {
		if len(b.of(p)) > 2 {
			return nil, fmt.Errorf("%w: at most two keys for %s, the old and the new", ErrRefused, p)
		}
		for _, pub := range b.of(p) {
			k := pub.Kid()
			_, isDevice := r.devices[k]
			_, isAgent := r.agents[k]
			if _, twice := fresh[k]; pub.IsZero() || twice || isDevice || isAgent {
				return nil, fmt.Errorf("%w: a %s key that is empty or serves another purpose too", ErrRefused, p)
			}
			fresh[k] = pub
		}
	}
	return func() {
		r.servers = b
		for k, p := range fresh {
			r.keys[k] = p
		}
		for _, p := range b.Log {
			if !slices.Contains(r.logKeys, p) {
				r.logKeys = append(r.logKeys, p)
			}
		}
	}, nil
}

func (r *Roster) planRestart(s statement, signers []key.Kid, b Restart) (func(), error) {
	if err := r.needThreshold(s, signers, key.Kid{}); err != nil {
		return nil, err
	}
	if err := checkText("reason", b.Reason); err != nil {
		return nil, err
	}
	if b.Size == 0 || b.Lost <= b.Size || b.Root.IsZero() {
		return nil, fmt.Errorf("%w: a restart names the state that is left, and a larger one that was lost", ErrRefused)
	}
	return func() { r.restarts = append(r.restarts, restart{b, s.Seq}) }, nil
}

func (r *Roster) addAdmin(a AdminDevice) error {
	m := member{a.MemberID, a.Email, withAdmin(a.Roles)}
	if err := r.checkMember(m); err != nil {
		return err
	}
	if err := r.checkDevice(a.Device, r.created); err != nil {
		return err
	}
	r.members[m.id], r.emails[m.email] = m, m.id
	r.putDevice(device{DeviceBody: a.Device, memberID: m.id, admin: true})
	return nil
}

func (r *Roster) putDevice(d device) {
	k := d.Public.Kid()
	r.devices[k], r.keys[k] = d, d.Public
}

func (r *Roster) setThreshold(k uint64) error {
	if k < 1 || k > uint64(r.countAdmins(key.Kid{})) {
		return fmt.Errorf("%w: the threshold must be 1 to the number of admins", ErrRefused)
	}
	r.threshold = k
	return nil
}

func (r *Roster) checkMember(m member) error {
	if err := checkName("member id", m.id); err != nil {
		return err
	}
	if err := checkName("e-mail", m.email); err != nil {
		return err
	}
	if a, err := mail.ParseAddress(m.email); err != nil || a.Address != m.email || strings.ToLower(m.email) != m.email {
		return fmt.Errorf("%w: %q is not a plain lower-case e-mail address", ErrRefused, m.email)
	}
	if _, taken := r.members[m.id]; taken {
		return fmt.Errorf("%w: member id %q is taken", ErrRefused, m.id)
	}
	if _, taken := r.emails[m.email]; taken {
		return fmt.Errorf("%w: %s is a member already", ErrRefused, m.email)
	}
	return checkRoles(m.roles)
}

func checkRoles(roles []string) error {
	if len(roles) > maxList {
		return fmt.Errorf("%w: more than %d roles", ErrRefused, maxList)
	}
	for i, role := range roles {
		if err := checkName("role", role); err != nil {
			return err
		}
		if slices.Contains(roles[:i], role) {
			return fmt.Errorf("%w: role %q twice", ErrRefused, role)
		}
	}
	return nil
}

func withAdmin(roles []string) []string {
	if slices.Contains(roles, "admin") {
		return roles
	}
	return append([]string{"admin"}, roles...)
}

func (r *Roster) checkDevice(d DeviceBody, at int64) error {
	return r.checkKey(d.Public, d.Recipient, d.Exp, at)
}

// checkKey refuses a key that is empty, was ever in the roster under any title,
// or is born expired.
func (r *Roster) checkKey(p key.Public, to key.Recipient, exp, at int64) error {
	if p.IsZero() || to.IsZero() {
		return fmt.Errorf("%w: a key or a recipient is missing", ErrRefused)
	}
	if _, known := r.keys[p.Kid()]; known {
		return fmt.Errorf("%w: key %s stands in the roster already", ErrRefused, p.Kid().Short())
	}
	if exp <= at {
		return fmt.Errorf("%w: exp is not after the statement's time", ErrRefused)
	}
	return nil
}

func checkName(what, s string) error {
	if err := sanitize.Name(s); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrRefused, what, err)
	}
	return nil
}

func checkText(what, s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrRefused, what, len(s), maxText)
	}
	if s == "" {
		return nil
	}
	if sanitize.Clean(s).String() != s {
		return fmt.Errorf("%w: %s holds characters that do not print as they are", ErrRefused, what)
	}
	return nil
}
