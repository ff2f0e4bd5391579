package recording

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// A segment is a magic and chunks:
//
//	0  4  length of the sealed bytes
//	4  8  ms since the recording's beginning: the chunk's last event
//	12 .  sealed: one complete age file
//	.  4  CRC-32C of all before
//
// The sum finds where a write was torn. It protects nothing: the manifest does.
const (
	segmentMagic = "tdrseg1\n"
	chunkHead    = 4 + 8

	// MaxSegment bounds a segment, in bytes.
	MaxSegment = 8 << 20
	// maxPlain bounds the plaintext of a chunk.
	maxPlain = 512 << 10
	// maxSealed bounds its sealed form: some 100 auditors.
	maxSealed = maxPlain + 256<<10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendChunk frames a sealed chunk.
func appendChunk(b []byte, sealed []byte, end time.Duration) []byte {
	from := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(sealed)))
	b = binary.BigEndian.AppendUint64(b, uint64(end.Milliseconds()))
	b = append(b, sealed...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// A chunk is one sealed piece of a segment.
type chunk struct {
	sealed []byte
	end    int64 // ms
}

// chunks splits a segment. It gives the whole chunks at its beginning, where
// they end, and an error if there is anything else.
func chunks(b []byte) (all []chunk, end int, err error) {
	if !bytes.HasPrefix(b, []byte(segmentMagic)) {
		return nil, 0, malformed("not a segment")
	}
	at := len(segmentMagic)
	last := int64(0)
	for at < len(b) {
		r := b[at:]
		if len(r) < chunkHead {
			return all, at, malformed("a chunk is cut off")
		}
		n := int(binary.BigEndian.Uint32(r))
		ms := binary.BigEndian.Uint64(r[4:])
		whole := chunkHead + n + 4
		switch {
		case n == 0 || n > maxSealed || ms > uint64(maxTime.Milliseconds()):
			return all, at, malformed("a chunk's head is out of range")
		case len(r) < whole:
			return all, at, malformed("a chunk is cut off")
		case binary.BigEndian.Uint32(r[chunkHead+n:]) != crc32.Checksum(r[:chunkHead+n], castagnoli):
			return all, at, malformed("a chunk's sum is wrong")
		case int64(ms) < last:
			return all, at, malformed("chunks are not in order of time")
		}
		last = int64(ms)
		all = append(all, chunk{r[chunkHead : chunkHead+n], last})
		at += whole
	}
	return all, at, nil
}

// check compares a segment with its manifest.
func (m VerifiedManifest) check(segment []byte) error {
	b := m.Body()
	switch {
	case uint64(len(segment)) != b.Len:
		return tampered(b.N, "it has %d bytes, and its manifest says %d", len(segment), b.Len)
	case envelope.Sum(segment) != b.SHA256:
		return tampered(b.N, "it is not what its manifest names: changed, exchanged or sealed anew")
	}
	return nil
}

// CheckSegment reports whether bytes are segment n of the chain.
func (c *Chain) CheckSegment(n uint64, segment []byte) error {
	if n == 0 || n > c.Segments() {
		return malformed("there is no segment %d", n)
	}
	return c.links[n-1].check(segment)
}

// ErrNotForYou means a recording that this device's key does not open: it was
// sealed to other auditors.
var ErrNotForYou = errors.New("recording: sealed to others; only devices that were auditors of the roster when it was made can open it")

// open gives the plaintext of a segment that is what its manifest says.
func (m VerifiedManifest) open(segment []byte, with key.Unsealer) ([]byte, error) {
	if err := m.check(segment); err != nil {
		return nil, err
	}
	n := m.Body().N
	all, _, err := chunks(segment)
	if err != nil {
		return nil, fmt.Errorf("recording: segment %d, as its agent signed it: %w", n, err)
	}
	var plain []byte
	for _, c := range all {
		p, err := with.Open(c.sealed, maxPlain)
		if err != nil {
			return nil, fmt.Errorf("%w (segment %d)", ErrNotForYou, n)
		}
		plain = append(plain, p...)
	}
	return plain, nil
}

// A Source gives the stored segments of one recording, by number from 1. Whatever
// it gives is checked.
type Source interface {
	Segment(ctx context.Context, n uint64) ([]byte, error)
}

// Verify checks every stored segment against its manifest. It opens nothing.
func (c *Chain) Verify(ctx context.Context, from Source) error {
	for n := uint64(1); n <= c.Segments(); n++ {
		b, err := from.Segment(ctx, n)
		if err != nil {
			return fmt.Errorf("recording: segment %d: %w", n, err)
		}
		if err := c.CheckSegment(n, b); err != nil {
			return err
		}
	}
	return nil
}

// Header opens the first segment as far as the header.
func (c *Chain) Header(ctx context.Context, from Source, with key.Unsealer) (Header, error) {
	r, err := c.reader(ctx, from, with, 1)
	if err != nil {
		return Header{}, err
	}
	return r.Header, nil
}

// reader opens segment n.
func (c *Chain) reader(ctx context.Context, from Source, with key.Unsealer, n uint64) (*Reader, error) {
	b, err := from.Segment(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("recording: segment %d: %w", n, err)
	}
	m := c.links[n-1]
	plain, err := m.open(b, with)
	if err != nil {
		return nil, err
	}
	if n == 1 {
		return NewReader(bytes.NewReader(plain))
	}
	return newReader(bytes.NewReader(plain), time.Duration(m.Body().T0)*time.Millisecond), nil
}

// Events opens the recording from segment n on and yields its events. Each
// segment is checked before it is opened; after an error nothing follows.
func (c *Chain) Events(ctx context.Context, from Source, with key.Unsealer, n uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for n := max(n, 1); n <= c.Segments(); n++ {
			r, err := c.reader(ctx, from, with, n)
			for err == nil {
				var e Event
				if e, err = r.Next(); err == nil && !yield(e, nil) {
					return
				}
			}
			if err != io.EOF {
				yield(Event{}, err)
				return
			}
		}
	}
}
