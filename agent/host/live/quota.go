package live

import (
	"errors"
	"sync/atomic"
)

var errPrinted = errors.New("live: it has printed more than it may")

// A quota is how much the streams of one program may still carry.
type quota struct {
	bounded bool
	left    atomic.Int64 // bytes; negative: it was more
}

// newQuota makes one of so many bytes; 0 is no bound.
func newQuota(most int64) *quota {
	q := &quota{bounded: most > 0}
	q.left.Store(most)
	return q
}

// of makes a way to send that fails when the quota is spent. What fits goes out.
func (q *quota) of(send func([]byte) error) func([]byte) error {
	if !q.bounded {
		return send
	}
	return func(b []byte) error {
		n := int64(len(b))
		over := -q.left.Add(-n) // how much of b does not fit, if it is positive
		if over <= 0 {
			return send(b)
		}
		if fits := n - over; fits > 0 {
			if err := send(b[:fits]); err != nil {
				return err
			}
		}
		return errPrinted
	}
}

// spent reports whether more was to go out than may.
func (q *quota) spent() bool { return q.bounded && q.left.Load() < 0 }
