package ledger

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// headName holds one record: magic, seq u64, hash, confirmed i64, CRC.
const (
	headName  = "head"
	headMagic = "tdhead1\n"
	headSize  = len(headMagic) + 8 + 32 + 8 + 4
)

// A Head is a roster head as it was seen: the number and hash of the newest
// statement, and when somebody else last confirmed that there is none newer.
type Head struct {
	Seq       uint64
	Hash      [32]byte
	Confirmed time.Time // whole seconds; zero: never
}

// A HeadFile keeps the newest Head.
type HeadFile struct {
	mu     sync.Mutex
	d      Disk
	h      Head
	broken bool
}

func openHead(d Disk) (*HeadFile, error) {
	f, b, err := read(d, headName, int64(headSize))
	if err != nil {
		return nil, err
	}
	hf := &HeadFile{d: d}
	if f == nil {
		return hf, nil
	}
	f.Close()
	n := len(b)
	if n != headSize || string(b[:len(headMagic)]) != headMagic || binary.BigEndian.Uint32(b[n-4:]) != sum(b[:n-4]) {
		// The file is only ever replaced whole, so this is no crash. Starting
		// over would let a server take the agent back to an older roster.
		return nil, fmt.Errorf("%w: %s; to trust the team again remove the file as root of this host", ErrDamaged, headName)
	}
	p := b[len(headMagic):]
	hf.h.Seq = binary.BigEndian.Uint64(p)
	copy(hf.h.Hash[:], p[8:])
	if s := int64(binary.BigEndian.Uint64(p[40:])); s != 0 {
		hf.h.Confirmed = time.Unix(s, 0)
	}
	return hf, nil
}

// Get gives the newest head; the zero Head before the first Advance.
func (f *HeadFile) Get() Head {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.h
}

// Advance makes h the newest head, on disk before it returns. A lower number,
// or another hash under the same number, is ErrLower. Confirmed never goes back.
func (f *HeadFile) Advance(h Head) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return ErrBroken
	}
	if h.Seq < f.h.Seq || (h.Seq == f.h.Seq && f.h.Hash != [32]byte{} && h.Hash != f.h.Hash) {
		return fmt.Errorf("%w: %d after %d", ErrLower, h.Seq, f.h.Seq)
	}
	h.Confirmed = h.Confirmed.Truncate(time.Second)
	if h.Confirmed.Before(f.h.Confirmed) {
		h.Confirmed = f.h.Confirmed
	}
	if h.Seq == f.h.Seq && h.Hash == f.h.Hash && h.Confirmed.Equal(f.h.Confirmed) {
		return nil
	}
	b := append(make([]byte, 0, headSize), headMagic...)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = append(b, h.Hash[:]...)
	var confirmed int64
	if !h.Confirmed.IsZero() {
		confirmed = h.Confirmed.Unix()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(confirmed))
	b = binary.BigEndian.AppendUint32(b, sum(b))
	w, err := replace(f.d, headName, b)
	if err != nil {
		f.broken = true
		return fmt.Errorf("ledger: %s: %w", headName, err)
	}
	w.Close()
	f.h = h
	return nil
}

func (f *HeadFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = true
}
