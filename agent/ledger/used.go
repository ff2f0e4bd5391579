package ledger

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// The file of used ids: a header and a fixed number of slots, written in order.
//
//	header  0  8  magic
//	        8  4  slots
//	       12  8  issued floor, unix seconds
//	       20  8  expiry floor, unix seconds
//	       28  4  CRC-32C of bytes 0..27
//	slot    0  1  kind (0: free)
//	        1 16  id
//	       17  8  issued, unix seconds
//	       25  8  expires, unix seconds
//	       33  4  CRC-32C of the slot's number (u32) and bytes 0..32
//
// All integers are big endian. The length of the file is in its header, so a
// cut at any byte is seen, and a write in place changes no metadata.
const (
	usedName   = "used"
	usedMagic  = "tdused1\n"
	headerSize = len(usedMagic) + 4 + 8 + 8 + 4
	slotSize   = 1 + 16 + 8 + 8 + 4

	minSlots = 1024
	// maxUsed bounds the ids that are kept at once: about 18 new ones a second
	// for an hour.
	maxUsed = 1 << 16
	// keepExpired is how long an id is kept after it expired, so that clocks
	// which differ a little never meet the floor.
	keepExpired = 5 * time.Minute
	// damageSkew is how far the clock of who issued an id may be ahead of ours
	// when damage is found.
	damageSkew = time.Minute
)

// Kind says what an id names. Ids of different kinds never collide.
type Kind uint8

// The kinds of ids.
const (
	Session Kind = 1 + iota // a session id
	Nonce                   // the nonce of an approval
)

// An Item is a thing that may be used once.
type Item struct {
	Kind    Kind
	ID      [16]byte
	Issued  time.Time // when its signer made it; whole seconds
	Expires time.Time // from when on its checks refuse it; whole seconds
}

type usedKey struct {
	kind Kind
	id   [16]byte
}

type usedTimes struct{ issued, expires int64 }

// Used remembers the ids that were used.
type Used struct {
	mu   sync.Mutex
	d    Disk
	now  func() time.Time
	time *clock // by which ids expire
	f    File
	ids  map[usedKey]usedTimes
	next int // first free slot
	cap  int // slots in the file
	// issuedFloor refuses what was issued before it (damage, a new file).
	issuedFloor int64
	// expiryFloor refuses what expires at it or before (pruned ids).
	expiryFloor int64
	damaged     bool
	broken      bool
}

func openUsed(d Disk, now func() time.Time) (*Used, error) {
	f, b, err := read(d, usedName, int64(headerSize+slotSize*4*maxUsed))
	if err != nil {
		return nil, err
	}
	u := &Used{d: d, now: now, ids: make(map[usedKey]usedTimes)}
	if u.time, err = openClock(d); err != nil {
		return nil, err
	}
	if f == nil {
		// A folder that never had a ledger, or lost it: whatever is older than
		// this moment may have been used.
		u.issuedFloor = now().Unix()
		return u, u.rewrite()
	}
	if u.load(b) {
		u.f = f
		return u, nil
	}
	f.Close()
	u.damaged = true
	u.issuedFloor = max(u.issuedFloor, now().Add(damageSkew).Unix())
	for _, t := range u.ids {
		u.issuedFloor = max(u.issuedFloor, t.issued+1)
	}
	return u, u.rewrite()
}

// load reads what can be read and reports whether all of it was well.
func (u *Used) load(b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	h := b[:headerSize]
	ok := string(h[:len(usedMagic)]) == usedMagic && binary.BigEndian.Uint32(h[headerSize-4:]) == sum(h[:headerSize-4])
	if ok {
		u.cap = int(binary.BigEndian.Uint32(h[8:]))
		u.issuedFloor = int64(binary.BigEndian.Uint64(h[12:]))
		u.expiryFloor = int64(binary.BigEndian.Uint64(h[20:]))
		ok = len(b) == headerSize+u.cap*slotSize
	}
	free := false
	for i := 0; headerSize+(i+1)*slotSize <= len(b); i++ {
		s := b[headerSize+i*slotSize:][:slotSize]
		if [slotSize]byte(s) == [slotSize]byte{} {
			free = true
			continue
		}
		k, t, good := readSlot(i, s)
		if !good || free {
			ok = false
		}
		if good {
			u.ids[k] = t
			u.next = i + 1
		}
	}
	return ok
}

func slot(i int, k usedKey, t usedTimes) []byte {
	b := append(make([]byte, 0, slotSize), byte(k.kind))
	b = append(b, k.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.issued))
	b = binary.BigEndian.AppendUint64(b, uint64(t.expires))
	return binary.BigEndian.AppendUint32(b, sum(binary.BigEndian.AppendUint32(nil, uint32(i)), b))
}

func readSlot(i int, s []byte) (usedKey, usedTimes, bool) {
	body, crc := s[:slotSize-4], binary.BigEndian.Uint32(s[slotSize-4:])
	k := usedKey{kind: Kind(body[0]), id: [16]byte(body[1:17])}
	t := usedTimes{int64(binary.BigEndian.Uint64(body[17:])), int64(binary.BigEndian.Uint64(body[25:]))}
	return k, t, k.kind != 0 && crc == sum(binary.BigEndian.AppendUint32(nil, uint32(i)), body)
}

// rewrite drops what expired long ago, raises the expiry floor over it, and
// replaces the file by one with room.
func (u *Used) rewrite() error {
	cut := u.now().Add(-keepExpired).Unix()
	keep := make(map[usedKey]usedTimes, len(u.ids))
	floor := u.expiryFloor
	for k, t := range u.ids {
		if t.expires < cut {
			floor = max(floor, t.expires)
		} else {
			keep[k] = t
		}
	}
	slots := max(minSlots, 2*len(keep))
	b := append(make([]byte, 0, headerSize+slots*slotSize), usedMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(slots))
	b = binary.BigEndian.AppendUint64(b, uint64(u.issuedFloor))
	b = binary.BigEndian.AppendUint64(b, uint64(floor))
	b = binary.BigEndian.AppendUint32(b, sum(b))
	i := 0
	for k, t := range keep {
		b = append(b, slot(i, k, t)...)
		i++
	}
	b = b[:headerSize+slots*slotSize] // the rest is zero: free slots
	f, err := replace(u.d, usedName, b)
	if err != nil {
		u.broken = true
		return fmt.Errorf("ledger: %s: %w", usedName, err)
	}
	if u.f != nil {
		u.f.Close()
	}
	u.f, u.ids, u.next, u.cap, u.expiryFloor = f, keep, i, slots, floor
	return nil
}

// Use marks items as used, all of them or none, and returns nil only when they
// are on disk. ErrUsed if one was used before, ErrTooOld if one can't be told
// from a used one, ErrBack if the clock has gone back by more than a minute. After any other error none of them may be acted on, and
// later calls answer ErrBroken.
func (u *Used) Use(items ...Item) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.check(items); err != nil {
		return err
	}
	if u.next+len(items) > u.cap {
		if err := u.rewrite(); err != nil {
			return err
		}
	}
	if len(u.ids)+len(items) > maxUsed {
		return fmt.Errorf("%w: %d ids are in use", ErrFull, len(u.ids))
	}
	var b []byte
	for i, it := range items {
		k, t := it.key(), it.times()
		// In memory first: whatever the disk does, this process never takes it again.
		u.ids[k] = t
		b = append(b, slot(u.next+i, k, t)...)
	}
	if _, err := u.f.WriteAt(b, int64(headerSize+u.next*slotSize)); err != nil {
		u.broken = true
		return fmt.Errorf("ledger: %s: %w", usedName, err)
	}
	if err := u.f.Sync(); err != nil {
		u.broken = true
		return fmt.Errorf("ledger: %s: %w", usedName, err)
	}
	u.next += len(items)
	return nil
}

// Now is the time by the machine's own clock, and is remembered: whoever asks now and
// then sees to it that a clock that has gone back since is found out.
func (u *Used) Now() time.Time {
	now := u.now()
	_ = u.time.tell(now) // whoever acts by it asks Check or Use
	return now
}

// Check reports what Use would, and marks nothing. It may be out of date when
// it returns: Use decides.
func (u *Used) Check(items ...Item) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.check(items)
}

func (u *Used) check(items []Item) error {
	if u.broken {
		return ErrBroken
	}
	if err := u.time.tell(u.now()); err != nil {
		return err
	}
	seen := make(map[usedKey]bool, len(items))
	for _, it := range items {
		k, t := it.key(), it.times()
		if k.kind == 0 || k.id == [16]byte{} {
			return fmt.Errorf("ledger: an item without kind or id can't be used")
		}
		if _, used := u.ids[k]; used || seen[k] {
			return ErrUsed
		}
		seen[k] = true
		if t.issued < u.issuedFloor || t.expires <= u.expiryFloor {
			return ErrTooOld
		}
	}
	return nil
}

// Damaged reports whether Open found the file damaged, so that whatever was
// issued before that moment is refused.
func (u *Used) Damaged() bool { return u.damaged }

func (u *Used) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.broken = true
	if u.f != nil {
		u.f.Close()
	}
}

func (it Item) key() usedKey     { return usedKey{it.Kind, it.ID} }
func (it Item) times() usedTimes { return usedTimes{it.Issued.Unix(), it.Expires.Unix()} }
