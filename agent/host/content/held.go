package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/envelope"
)

const (
	// maxHeld bounds a file that is read while a program start waits, in bytes.
	maxHeld = 256 << 20
	// sumIn bounds the time for that.
	sumIn = 15 * time.Second
)

var errSumTime = errors.New("it takes too long to read")

// A Held is the file that a program start which waits will load first, as stat said of it
// when the start was judged.
type Held struct {
	Path     string // absolute, as this process sees it
	Dev, Ino uint64
	Size     int64 // bytes
	Changed  int64 // ctime in nanoseconds
}

// Sum gives the SHA-256 of the file's bytes, read with the rights of u. It is ErrChanged
// where the name leads to another file now, or the file was changed since; ErrUnreadable
// where it can't be read whole in its time.
func (h Held) Sum(ctx context.Context, u process.User) (envelope.Hash, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sumIn, errSumTime)
	defer cancel()
	sum, err := h.sum(ctx, u)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", ErrUnreadable, cause)
	}
	return sum, err
}

// untilOver is a reader that ends with ctx.
type untilOver struct {
	ctx context.Context
	r   io.Reader
}

func (u untilOver) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
