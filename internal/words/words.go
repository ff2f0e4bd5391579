package words

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/scrypt"
)

// Count is how many words a Phrase has.
const Count = 6

const (
	bitsOfWord = 11
	prefix     = 4 // letters that tell the words of the list apart
	maxText    = 256
)

// The work for one phrase: 32 MiB for some 50 ms. Whoever changes it changes all
// phrases.
const (
	scryptN = 1 << 15
	scryptR = 8
	scryptP = 1
)

// ErrMalformed means text that is not six words of the list.
var ErrMalformed = errors.New("words: not six words of the list")

//go:embed english.txt
var english string

var list = strings.Fields(english)

// index gives each word's place, by its first letters.
var index = func() map[string]uint16 {
	m := make(map[string]uint16, len(list))
	for i, w := range list {
		m[w[:min(prefix, len(w))]] = uint16(i)
	}
	return m
}()

// A Phrase is six words. Phrases are compared with ==: they are no secret.
type Phrase struct {
	n  [Count]uint16
	ok bool
}

// Of gives the words of a hash, in a context of its own: a constant such as
// "device", so that the words of one kind of thing never stand for another.
func Of(context string, hash [32]byte) Phrase {
	q := question{context, hash}
	if p, ok := recent.get(q); ok {
		return p
	}
	p := compute(q)
	recent.put(q, p)
	return p
}

type question struct {
	context string
	hash    [32]byte
}

func compute(q question) Phrase {
	b, err := scrypt.Key(q.hash[:], []byte("tucdesk words v1\x00"+q.context), scryptN, scryptR, scryptP, (Count*bitsOfWord+7)/8)
	if err != nil {
		panic("words: internal error: " + err.Error()) // the parameters are constants
	}
	p := Phrase{ok: true}
	for i := range Count * bitsOfWord {
		bit := b[i/8] >> (7 - i%8) & 1
		p.n[i/bitsOfWord] = p.n[i/bitsOfWord]<<1 | uint16(bit)
	}
	return p
}

// recent remembers the last phrases: the same is shown, compared and compared
// again, and none of it is secret.
var recent memory

type memory struct {
	mu   sync.Mutex
	last [16]struct {
		question
		Phrase
	}
	next int
}

func (m *memory) get(q question) (Phrase, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.last {
		if m.last[i].ok && m.last[i].question == q {
			return m.last[i].Phrase, true
		}
	}
	return Phrase{}, false
}

func (m *memory) put(q question, p Phrase) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[m.next].question, m.last[m.next].Phrase = q, p
	m.next = (m.next + 1) % len(m.last)
}

// IsZero reports whether p is no phrase.
func (p Phrase) IsZero() bool { return !p.ok }

// String gives the words with spaces between them; it is empty for the zero
// Phrase.
func (p Phrase) String() string {
	if !p.ok {
		return ""
	}
	w := make([]string, Count)
	for i, n := range p.n {
		w[i] = list[n]
	}
	return strings.Join(w, " ")
}

// Parse reads what String gives, as people type it: capitals, any white space or
// hyphens between the words, and of each word at least its first four letters. A
// mistyped word is named.
func Parse(s string) (Phrase, error) {
	if len(s) > maxText {
		return Phrase{}, ErrMalformed
	}
	typed := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	if len(typed) != Count {
		return Phrase{}, fmt.Errorf("%w: %d words, want %d", ErrMalformed, len(typed), Count)
	}
	p := Phrase{ok: true}
	for i, w := range typed {
		n, ok := index[w[:min(prefix, len(w))]]
		if !ok || !strings.HasPrefix(list[n], w) {
			return Phrase{}, fmt.Errorf("%w: word %d is not on it", ErrMalformed, i+1)
		}
		p.n[i] = n
	}
	return p, nil
}
