package vt

import (
	"fmt"
	"slices"

	"github.com/tucdesk/tucdesk/internal/vt/sequence"
)

const (
	// maxKeyboard bounds the flags that were pushed; the oldest go first.
	maxKeyboard = 16
	// keyboardFlags are all flags that there are.
	keyboardFlags = 0x1f
)

// A keyboard is the stack of flags of the kitty keyboard protocol
// (https://sw.kovidgoyal.net/kitty/keyboard-protocol/), the last in force. Each screen
// has one.
type keyboard []int

func (k keyboard) now() int {
	if len(k) == 0 {
		return 0
	}
	return k[len(k)-1]
}

// keyboardProtocol pushes (>), pops (<), sets (=) or tells (?) the flags.
func (t *Terminal) keyboardProtocol(s *sequence.Sequence) {
	if !t.keyboard {
		return
	}
	k := &t.shown.keyboard
	flags := s.Arg(0, 0) & keyboardFlags
	switch s.Prefix {
	case '>':
		if len(*k) == maxKeyboard {
			*k = slices.Delete(*k, 0, 1)
		}
		*k = append(*k, flags)
	case '<':
		*k = (*k)[:len(*k)-min(s.Number(0), len(*k))]
	case '=':
		now := k.now()
		switch s.Arg(1, 1) {
		case 1:
			now = flags
		case 2:
			now |= flags
		case 3:
			now &^= flags
		}
		if len(*k) == 0 {
			*k = append(*k, 0)
		}
		(*k)[len(*k)-1] = now
	case '?':
		t.reply(fmt.Sprintf("\x1b[?%du", k.now()))
	}
}

// OfferKeyboard says from now on whether programs may ask for the kitty keyboard
// protocol.
func (t *Terminal) OfferKeyboard(offer bool) {
	t.keyboard = offer
}
