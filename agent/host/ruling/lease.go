package ruling

import (
	"crypto/sha256"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/policy"
)

// LeaseTime is how long a half may judge by rules before it asks for them again. It
// bounds what a keeper that hangs, and so withdraws nothing, leaves behind.
const LeaseTime = time.Second

// maxDocument bounds a policy that is lent, in bytes: it must fit into one message.
const maxDocument = 160 << 10

// A Loan is Rules on their way to a half; its fields are the bytes (cell's SPEC.md).
type Loan struct {
	Lent      bool              `cbor:"lent"` // false: ask about each start
	Member    string            `cbor:"member"`
	MemberID  string            `cbor:"member_id"`
	Roles     []string          `cbor:"roles"`
	Target    string            `cbor:"target"`
	Tags      map[string]string `cbor:"tags"`
	LoginUser string            `cbor:"login_user"`
	Kind      string            `cbor:"kind"`
	As        string            `cbor:"as"`
	Version   uint64            `cbor:"version"`
	Document  []byte            `cbor:"document"` // empty: the one that the half has
}

// Nothing is the loan of who lends nothing.
func Nothing() Loan {
	return Loan{Roles: []string{}, Tags: map[string]string{}, Document: []byte{}}
}

// Lend makes a loan for a half that has the policy with a SHA-256; nil: none.
func (r Rules) Lend(has []byte) Loan {
	if len(r.document) == 0 || len(r.document) > maxDocument || r.snapshot == nil {
		return Nothing()
	}
	l := Nothing()
	l.Lent, l.Version = true, r.snapshot.Version
	l.Member, l.MemberID, l.Target, l.LoginUser = r.request.Member, r.request.MemberID, r.request.Target, r.request.LoginUser
	l.Kind, l.As = string(r.request.Kind), r.request.As
	l.Roles = append(l.Roles, r.request.Roles...)
	maps.Copy(l.Tags, r.request.Tags)
	if sum := sha256.Sum256(r.document); string(has) != string(sum[:]) {
		l.Document = r.document
	}
	return l
}

// A Lease is a half's side of a loan. The zero value is ready to use, and allows
// nothing. It is safe for concurrent use.
type Lease struct {
	asking sync.Mutex // one asks for all

	mu        sync.Mutex
	rules     Rules // whose policy is kept when they are over: it need not be sent again
	sum       []byte
	until     time.Time
	withdrawn uint64
}

// Allows reports whether a start is allowed by rules that hold. Where there are none,
// borrow asks the keeper for them, who is told the policy that is here; its error, like
// whatever is not allowed, is a matter for the keeper.
func (l *Lease) Allows(s live.Start, borrow func(has []byte) (Loan, error)) bool {
	r, ok := l.current()
	if !ok {
		l.asking.Lock()
		if r, ok = l.current(); !ok {
			r, ok = l.renew(borrow)
		}
		l.asking.Unlock()
	}
	return ok && r.allows(s, time.Now())
}

// Withdraw ends what is lent, also what is on its way.
func (l *Lease) Withdraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
	l.withdrawn++
}

func (l *Lease) current() (Rules, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rules, time.Now().Before(l.until)
}

// renew asks for rules. The time that they are good for begins before they were given.
// Where none are lent, that is so for as long.
func (l *Lease) renew(borrow func(has []byte) (Loan, error)) (Rules, bool) {
	l.mu.Lock()
	withdrawn, sum, r := l.withdrawn, l.sum, l.rules
	l.mu.Unlock()
	now := time.Now()
	loan, err := borrow(sum)
	if err != nil {
		return Rules{}, false
	}
	r.request = policy.Request{}
	if loan.Lent {
		if sum, err = r.take(loan, sum); err != nil {
			return Rules{}, false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.withdrawn != withdrawn {
		return Rules{}, false
	}
	l.rules, l.sum, l.until = r, sum, now.Add(LeaseTime)
	return r, true
}

var errNoPolicy = errors.New("ruling: rules without a policy")

// take makes rules of a loan, and gives the SHA-256 of their policy.
func (r *Rules) take(l Loan, sum []byte) ([]byte, error) {
	if len(l.Document) > 0 {
		p, err := policy.Parse(l.Document)
		if err != nil {
			return nil, err
		}
		hash := sha256.Sum256(l.Document)
		r.snapshot, sum = &policy.Snapshot{Policy: p}, hash[:]
	}
	if r.snapshot == nil {
		return nil, errNoPolicy
	}
	r.snapshot = &policy.Snapshot{Policy: r.snapshot.Policy, Version: l.Version, Hash: [32]byte(sum)}
	r.request = policy.Request{
		Member: l.Member, MemberID: l.MemberID, Roles: l.Roles, Target: l.Target, Tags: l.Tags,
		LoginUser: l.LoginUser, Kind: policy.Kind(l.Kind), As: l.As,
	}
	return sum, nil
}
