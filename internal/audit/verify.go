package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Options are what a verifier knows besides the team's fingerprint. The zero
// value checks all that needs no further knowledge.
type Options struct {
	// Previous is a checkpoint (signed note) from an earlier look at this log:
	// the export must extend it.
	Previous []byte
	// MaxAge, if above 0, is how old the newest entry may be at Now.
	MaxAge time.Duration
	Now    time.Time
	// Visit, if set, is called with every entry whose signature is good, in
	// order. Its error ends Verify.
	Visit func(index int64, e VerifiedEntry) error
}

// Verify reads an export and checks every byte of it, trusting nothing but
// teamFP. What it finds wrong is in the report; the error is only for reading
// from r and for Visit. It holds the roster, 64 bytes for each entry, and a few
// hundred entries at a time in memory. Signatures are checked on all processors.
//
// What it checks, in order: the genesis has the fingerprint; the roster chain
// (signatures and thresholds) up to its head; for each entry form, team,
// signature, that its signer may sign it, its place in its signer's chain, the
// operator's proof and the approvers' decisions in it, their agreement with the
// entry, and that checkpoints which operators had seen lie in this log; the
// roster's statements against the roster entries; the operators' own chains;
// the checkpoint's signature by a log key of the roster, its size and its root.
func Verify(r io.Reader, teamFP envelope.Hash, opts Options) (Report, error) {
	v := &verification{
		opts:      opts,
		report:    Report{TeamFP: teamFP},
		chains:    map[key.Kid]Link{},
		proofs:    map[proofUse]struct{}{},
		operators: map[key.Kid][]operatorLink{},
		sessions:  map[sessionUse]struct{}{},
		claims:    map[sessionUse]int64{},
		seen:      map[envelope.Hash]bool{},
	}
	err := v.run(r)
	switch {
	case err == nil, errors.Is(err, errStop):
		err = nil
	case errors.Is(err, ErrCut):
		v.report.add(Incomplete, -1, "export", "it ends before its end record; export it again")
		err = nil
	case errors.Is(err, ErrMalformed):
		v.report.add(BadInput, -1, "export", "%v", err)
		err = nil
	}
	v.report.sort()
	return v.report, err
}

// errStop ends a verification whose report says already why.
var errStop = errors.New("audit: stop")

// verification is the state of one Verify.
type verification struct {
	opts   Options
	report Report

	roster     *roster.Roster
	pending    [][]byte // read and not yet applied
	logKeys    []logKeys
	allLogKeys []key.Public

	tree      memoryTree
	recorded  int64 // number of the last statement that a roster entry named; -1 before the first
	chains    map[key.Kid]Link
	proofs    map[proofUse]struct{}
	operators map[key.Kid][]operatorLink
	sessions  map[sessionUse]struct{} // operators' proofs for a session
	claims    map[sessionUse]int64    // entries that say so without one, by index
	seen      map[envelope.Hash]bool  // checkpoints in proofs that were checked
}

// logKeys are the keys that may sign for the log from a statement on.
type logKeys struct {
	from uint64
	keys []key.Public
}

type proofUse struct {
	proof  envelope.Hash
	signer key.Kid
	as     Type
}

type sessionUse struct {
	session  token.ID
	operator key.Kid
}

type operatorLink struct {
	seq        uint64
	hash, prev envelope.Hash
	index      int64
}

const (
	// batch is how many entries are read before their signatures are checked.
	batch = 512
	// applyAtOnce bounds how many statements wait until they are applied.
	applyAtOnce = 1024
)

func (v *verification) run(r io.Reader) error {
	x, err := newExportReader(r)
	if err != nil {
		return err
	}
	v.recorded = -1
	var entries [][]byte
	var note []byte
	for {
		kind, b, err := x.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			// What came before the damage is still worth checking.
			if v.roster != nil {
				if err := v.check(entries); err != nil {
					return err
				}
			}
			return err
		}
		switch kind {
		case recordGenesis:
			err = v.genesis(b)
		case recordStatement:
			err = v.statement(b)
		case recordEntry:
			entries = append(entries, b)
			if len(entries) == batch {
				err = v.check(entries)
				entries = entries[:0]
			}
		case recordCheckpoint:
			note = b
		}
		if err != nil {
			return err
		}
	}
	if err := v.check(entries); err != nil {
		return err
	}
	v.finish(note)
	return nil
}

// check applies the statements that wait, and then checks a batch of entries.
func (v *verification) check(entries [][]byte) error {
	if err := v.apply(); err != nil {
		return err
	}
	return v.checkEntries(entries)
}

func (v *verification) genesis(b []byte) error {
	r, err := roster.Open(b)
	if err != nil {
		v.report.add(Tampered, -1, "roster", "the genesis is not valid: %v", err)
		return errStop
	}
	if r.TeamFP() != v.report.TeamFP {
		v.report.add(Tampered, -1, "roster", "this is the export of another team: its fingerprint is %s", r.TeamFP())
		return errStop
	}
	v.setRoster(r)
	v.report.TeamID, v.report.Demo = r.TeamID(), r.Demo()
	return nil
}

func (v *verification) setRoster(r *roster.Roster) {
	v.roster, v.report.Head = r, r.Head()
}

func (v *verification) statement(b []byte) error {
	v.pending = append(v.pending, b)
	if setsServerKeys(b) {
		if err := v.apply(); err != nil {
			return err
		}
		keys := v.roster.ServerKeys(roster.ServerLog)
		v.logKeys = append(v.logKeys, logKeys{v.roster.Head().Seq, keys})
		v.allLogKeys = append(v.allLogKeys, keys...)
		return nil
	}
	if len(v.pending) == applyAtOnce {
		return v.apply()
	}
	return nil
}

// setsServerKeys reads a statement's kind before it is verified: only to know
// where to stop and look at the keys that the verified roster then names.
func setsServerKeys(statement []byte) bool {
	u, err := envelope.Parse(statement)
	if err != nil {
		return false
	}
	var fields map[string]any
	if err := envelope.Unmarshal(u.InsecurePayload(), &fields); err != nil {
		return false
	}
	return fields["kind"] == string(roster.KindServerKeys)
}

// apply moves the roster on by the statements that wait.
func (v *verification) apply() error {
	if len(v.pending) == 0 {
		return nil
	}
	was := v.roster.Head().Seq
	r, err := v.roster.Apply(v.pending...)
	if r != nil {
		v.setRoster(r)
	}
	if err == nil && v.roster.Head().Seq != was+uint64(len(v.pending)) {
		err = errors.New("a statement stands there twice")
	}
	if err != nil {
		v.report.add(Tampered, -1, "roster", "after statement %d: %v", v.roster.Head().Seq, err)
		return errStop
	}
	v.pending = nil
	return nil
}

// keysAt gives the log keys in force after statement seq. Before the first
// server-keys statement those that it names count: it is recorded by them.
func (v *verification) keysAt(seq int64) []key.Public {
	if len(v.logKeys) == 0 {
		return nil
	}
	keys := v.logKeys[0].keys
	for _, k := range v.logKeys {
		if int64(k.from) <= seq {
			keys = k.keys
		}
	}
	return keys
}

// isRecorder reports whether k was a log key when entry e was recorded. The
// entry of a statement that changes the keys may be signed by old or new ones.
func (v *verification) isRecorder(k key.Kid, e Entry) bool {
	has := func(keys []key.Public) bool {
		return slices.ContainsFunc(keys, func(p key.Public) bool { return p.Kid() == k })
	}
	return has(v.keysAt(v.recorded)) || e.Type == Roster && has(v.keysAt(v.recorded+1))
}

// A checked is an entry after the checks that need no other entry.
type checked struct {
	raw       []byte
	leaf      tlog.Hash
	entry     VerifiedEntry
	proof     token.Signed[token.Proof]
	decisions []approval.Decision
	what      string // what failed, if err is not nil
	err       error
}

// checkAlone checks signatures and what an entry says by itself. It reads
// nothing of v that changes while entries are checked.
func (v *verification) checkAlone(raw []byte) (c checked) {
	c.raw, c.leaf = raw, tlog.RecordHash(raw)
	fail := func(what string, err error) checked {
		c.what, c.err = what, err
		return c
	}
	u, err := ParseEntry(raw)
	if err != nil {
		return fail("form", err)
	}
	if c.entry, err = u.Verify(v.roster.Key); err != nil {
		return fail("signature", err)
	}
	e := c.entry.Entry()
	if e.TeamFP != v.report.TeamFP || e.TeamID != v.roster.TeamID() {
		return fail("team", ErrForeign)
	}
	switch {
	case len(e.Proof) > 0:
		p, err := token.ParseProof(e.Proof)
		if err == nil {
			c.proof, err = token.VerifySigned[token.Proof](p.Unverified, v.deviceKey)
		}
		if err == nil {
			err = matchProof(e, c.proof.Body())
		}
		if err != nil {
			return fail("proof", err)
		}
	case e.Type == Verdict, e.Type == Ask:
		return fail("proof", errors.New("the operator's proof is missing"))
	}
	for _, b := range e.Approvals {
		d, err := approval.ParseDecision(b)
		if err != nil {
			return fail("decision", err)
		}
		signed, err := d.Verify(v.deviceKey)
		if err != nil {
			return fail("decision", err)
		}
		c.decisions = append(c.decisions, signed.Body())
	}
	if e.Type == Approval {
		if err := matchDecision(e, c.decisions); err != nil {
			return fail("decision", err)
		}
	}
	return c
}

// deviceKey answers keys of devices, whether or not they may act now.
func (v *verification) deviceKey(k key.Kid) (key.Public, bool) {
	d, ok := v.roster.EverDevice(k)
	return d.Public, ok
}

// matchProof refuses an entry that says something else than the proof in it.
func matchProof(e Entry, p token.Proof) error {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"team_fp", e.TeamFP == p.TeamFP},
		{"actor", e.Actor.Kid == p.Operator},
		{"target", e.Target.Kid == p.Target},
		{"session_id", e.SessionID == p.SessionID},
		{"commitment", e.Command.Commitment == p.Commitment || p.Act == token.ActCancel && p.Commitment.IsZero()},
		{"action", e.Type == Refusal || e.Action == p.Kind || e.Action == p.Act},
		{"policy_result.hash", e.Policy.Hash == p.PolicyHash || e.Policy.Effect != "allow" && e.Policy.Effect != "confirm"},
	} {
		if !f.same {
			return fmt.Errorf("%s is not what the operator signed", f.name)
		}
	}
	return nil
}

// matchDecision refuses an approval entry that says something else than the
// decision in it.
func matchDecision(e Entry, decisions []approval.Decision) error {
	for _, d := range decisions {
		if d.Approver == e.Actor.Kid && (e.Action == "approve") == d.Approve && (e.Action == "deny") == !d.Approve {
			return nil
		}
	}
	if e.Action == "approve" || e.Action == "deny" {
		return errors.New("no decision of the actor says so")
	}
	return nil
}

// checkEntries checks a batch: each entry alone, on all processors, then
// together and in order.
func (v *verification) checkEntries(entries [][]byte) error {
	for _, c := range parallel(entries, v.checkAlone) {
		index := v.report.Entries
		v.report.Entries++
		if err := v.tree.add(c.leaf); err != nil {
			return err
		}
		if c.err != nil {
			v.report.add(Tampered, index, c.what, "%v", c.err)
			continue
		}
		v.checkTogether(index, c)
		if v.opts.Visit != nil {
			if err := v.opts.Visit(index, c.entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verification) checkTogether(index int64, c checked) {
	e, signer := c.entry.Entry(), c.entry.Signer()
	bad := func(what, format string, args ...any) { v.report.add(Tampered, index, what, format, args...) }
	if t := time.Unix(e.Timestamp, 0).UTC(); t.After(v.report.Newest) {
		v.report.Newest = t
	}
	v.report.Decisions += len(c.decisions)

	recorder := v.isRecorder(signer, e)
	if recorder {
		if !e.Type.byRecorder() {
			bad("signer", "the log's key may not sign what only an agent can say (%s)", e.Type)
		}
		v.checkRecorded(index, e)
		if err := e.CheckNames(v.roster); err != nil {
			bad("name", "%v", err)
		}
	} else if err := checkAgent(v.roster, e, signer); err != nil {
		bad("signer", "%v", err)
	}
	if !v.roster.Knows(e.RosterHead) {
		bad("roster", "it names a roster head that is not in this team's roster")
	}
	v.checkActor(index, c, recorder)
	if e.Type == Alarm {
		v.report.add(Incomplete, index, "alarm", "agent %s was shown another log than this one: %s", e.Target.Name, e.Outcome.Reason)
	}
	v.checkChain(index, signer, e.Signer, c.entry.Hash())
	if len(e.Proof) > 0 {
		v.checkProof(index, c)
	}
}

// checkRecorded holds the roster entries against the roster, one by one.
func (v *verification) checkRecorded(index int64, e Entry) {
	seq := int64(min(e.RosterHead.Seq, 1<<62))
	switch {
	case e.Type == Roster && (seq == v.recorded+1 || v.recorded == -1 && seq == 1):
		v.recorded = seq
		v.checkRestart(index, uint64(seq))
	case e.Type == Roster:
		v.report.add(Tampered, index, "roster", "statement %d is recorded after statement %d", seq, v.recorded)
	case seq > max(v.recorded, 0):
		v.report.add(Tampered, index, "roster", "it names statement %d, which is not recorded yet", seq)
	}
}

// checkActor asks for the actor's own word, where there must be one.
func (v *verification) checkActor(index int64, c checked, recorder bool) {
	e := c.entry.Entry()
	use := sessionUse{e.SessionID, e.Actor.Kid}
	switch {
	case e.Actor.Kid == c.entry.Signer():
		return
	case len(e.Proof) > 0: // matchProof has compared them
		v.sessions[use] = struct{}{}
		return
	case slices.ContainsFunc(c.decisions, func(d approval.Decision) bool { return d.Approver == e.Actor.Kid }):
		return
	case e.Type == SignIn, e.Type == Enrol, e.Type == Roster:
		return // the recorder's word: what follows from it is signed elsewhere
	case e.Type == Refusal:
		return // whoever was refused may have no word that holds
	case !recorder && !e.SessionID.IsZero():
		if _, ok := v.claims[use]; !ok {
			v.claims[use] = index
		}
		return
	}
	v.report.add(Tampered, index, "actor", "%s is named as the actor of a %s entry without a word of its own", e.Actor.Kid.Short(), e.Type)
}

func (v *verification) checkChain(index int64, signer key.Kid, at Position, hash envelope.Hash) {
	last := v.chains[signer]
	switch {
	case at.Seq <= last.Seq:
		v.report.add(Tampered, index, "chain", "number %d of signer %s comes after its number %d", at.Seq, signer.Short(), last.Seq)
		return
	case at.Seq > last.Seq+1:
		v.report.add(Incomplete, index, "chain", "entries %d to %d of signer %s are missing", last.Seq+1, at.Seq-1, signer.Short())
	case at.Prev != last.Hash:
		v.report.add(Tampered, index, "chain", "it does not follow number %d of signer %s", last.Seq, signer.Short())
	}
	v.chains[signer] = Link{at.Seq, hash}
}

func (v *verification) checkProof(index int64, c checked) {
	e, p := c.entry.Entry(), c.proof.Body()
	v.report.Proofs++
	use := proofUse{c.proof.Hash(), c.entry.Signer(), e.Type}
	// Whoever has seen a proof can have it refused as often as he likes: that must
	// not make an honest log look tampered with.
	if _, twice := v.proofs[use]; twice && e.Type != Refusal {
		v.report.add(Tampered, index, "proof", "one proof stands for two %s entries", e.Type)
	}
	v.proofs[use] = struct{}{}
	if e.Timestamp < p.IAT-2*int64(token.Skew/time.Second) { // whose clock is ahead, and whose is set back
		v.report.add(Tampered, index, "proof", "it is dated before the operator has signed")
	}
	v.operators[p.Operator] = append(v.operators[p.Operator], operatorLink{p.ActorSeq, c.proof.Hash(), p.ActorPrev, index})
	if len(p.Checkpoint) > 0 {
		v.checkSeen(index, p.Checkpoint, v.roster.Run(p.RosterHead.Seq))
	}
}

// checkSeen compares a checkpoint that an operator had seen with this log. One
// that no log key signed proves nothing and is passed over.
func (v *verification) checkSeen(index int64, note []byte, run int) {
	h := envelope.Sum(note)
	if v.seen[h] {
		return
	}
	c, err := VerifyCheckpoint(note, v.report.TeamFP, v.allLogKeys...)
	if err != nil {
		return
	}
	v.seen[h] = true
	v.checkEarlier(index, "split view", v.lift(c, run), index)
}

// lift gives what a checkpoint of a run of the log says now that later restarts are
// recorded.
func (v *verification) lift(c Checkpoint, run int) Checkpoint {
	return c.Lift(Restarts(v.roster), run, v.roster.Run(uint64(max(v.recorded, 0))))
}

// checkRestart holds a restart that was just recorded against the log before it.
func (v *verification) checkRestart(index int64, seq uint64) {
	all := Restarts(v.roster)
	if n := v.roster.Run(seq); n > 0 && v.roster.Run(seq-1) < n {
		v.checkEarlier(index, "restart", all[n-1], index)
	}
}

// checkEarlier holds an earlier checkpoint against the first entries of this
// log, of which there may be at most limit.
func (v *verification) checkEarlier(index int64, what string, c Checkpoint, limit int64) {
	if c.Size > limit {
		v.report.add(Tampered, index, what, "a signed checkpoint of %d entries was seen before this, and the log had only %d", c.Size, limit)
		return
	}
	if root, err := tlog.TreeHash(c.Size, &v.tree); err != nil || root != c.Root {
		v.report.add(Tampered, index, what, "a checkpoint that the log signed at %d entries has another root: it told two stories", c.Size)
	}
}

// checkPrevious holds the reader's earlier checkpoint against the log. Nobody knows after
// which restart it was signed: it must fit one of them, and where entries were lost that
// is told.
func (v *verification) checkPrevious(p Checkpoint) {
	restarts := Restarts(v.roster)
	for run := len(restarts); run > 0; run-- {
		if root, err := tlog.TreeHash(p.Size, &v.tree); p.Size <= v.report.Entries && err == nil && root == p.Root {
			return
		}
		if base := restarts[run-1]; p.Size > base.Size && p.Size <= int64(min(v.roster.Restarts()[run-1].Lost, 1<<62)) {
			v.report.add(Incomplete, -1, "previous checkpoint", "of its %d entries those from %d on were lost in restart %d of the log, which admins have signed", p.Size, base.Size, run)
			return
		}
	}
	v.checkEarlier(-1, "previous checkpoint", p, v.report.Entries)
}

// finish checks what only the whole export can tell.
func (v *verification) finish(note []byte) {
	if v.roster == nil {
		return
	}
	r := &v.report
	r.Signers = len(v.chains)
	if head := int64(v.roster.Head().Seq); v.recorded < head {
		r.add(Tampered, -1, "roster", "statements up to %d are in the export, and the log has entries up to %d", head, max(v.recorded, 0))
	}
	for use, index := range v.claims {
		if _, ok := v.sessions[use]; !ok {
			r.add(Tampered, index, "actor", "no proof of %s for this session is in the log", use.operator.Short())
		}
	}
	v.finishOperators()
	v.finishCheckpoint(note)
	if v.opts.MaxAge > 0 && v.opts.Now.Sub(r.Newest) > v.opts.MaxAge {
		r.add(Incomplete, -1, "age", "the newest entry is older than %v", v.opts.MaxAge)
	}
}

// finishOperators checks that the proofs of each device, whatever order they
// were recorded in, are numbered and chained without a gap.
func (v *verification) finishOperators() {
	for kid, links := range v.operators {
		slices.SortFunc(links, func(a, b operatorLink) int {
			return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.index, b.index))
		})
		var last operatorLink
		for _, l := range links {
			switch {
			case l.seq == last.seq && l.hash == last.hash:
				continue // one proof in several entries
			case l.seq == last.seq:
				v.report.add(Tampered, l.index, "operator", "device %s has signed two proofs with number %d", kid.Short(), l.seq)
			case l.seq != last.seq+1:
				v.report.add(Incomplete, l.index, "operator", "proofs %d to %d of device %s are missing", last.seq+1, l.seq-1, kid.Short())
			case l.prev != last.hash:
				v.report.add(Tampered, l.index, "operator", "proof %d of device %s does not follow the one before", l.seq, kid.Short())
			}
			last = l
		}
	}
}

func (v *verification) finishCheckpoint(note []byte) {
	r := &v.report
	if len(v.logKeys) == 0 {
		r.add(Incomplete, -1, "checkpoint", "the roster names no key for the log, so nobody vouches for its order")
		return
	}
	c, err := VerifyCheckpoint(note, r.TeamFP, v.keysAt(int64(v.roster.Head().Seq))...)
	if err != nil {
		r.add(Tampered, -1, "checkpoint", "%v", err)
		return
	}
	r.Checkpoint = c
	root, err := tlog.TreeHash(r.Entries, &v.tree)
	switch {
	case err != nil:
		r.add(BadInput, -1, "checkpoint", "%v", err)
	case r.Entries < c.Size:
		r.add(Incomplete, -1, "checkpoint", "it covers %d entries, and the export has %d", c.Size, r.Entries)
	case r.Entries > c.Size:
		r.add(Tampered, -1, "checkpoint", "it covers %d entries, and the export has %d", c.Size, r.Entries)
	case root != c.Root:
		r.add(Tampered, -1, "checkpoint", "the entries do not give the root that was signed")
	}
	if len(v.opts.Previous) > 0 {
		p, err := VerifyCheckpoint(v.opts.Previous, r.TeamFP, v.allLogKeys...)
		if err != nil {
			r.add(BadInput, -1, "previous checkpoint", "%v", err)
			return
		}
		v.checkPrevious(p)
	}
}
