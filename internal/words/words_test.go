package words

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// The list never changes: phrases that people have written down would.
func TestList(t *testing.T) {
	const want = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if sum := sha256.Sum256([]byte(english)); hex.EncodeToString(sum[:]) != want {
		t.Errorf("the list has the SHA-256 %x, want %s", sum, want)
	}
	if len(list) != 1<<bitsOfWord || len(index) != len(list) {
		t.Errorf("%d words, %d beginnings, want %d of each", len(list), len(index), 1<<bitsOfWord)
	}
}

// A fixed phrase: another scrypt, another order of bits or another salt would
// change what people see.
func TestVector(t *testing.T) {
	p := Of("test", sha256.Sum256([]byte("tucdesk")))
	const want = "goat route machine monkey any surface"
	if p.String() != want {
		t.Errorf("%q, want %q", p, want)
	}
	if q := Of("other", sha256.Sum256([]byte("tucdesk"))); q == p {
		t.Error("two contexts give one phrase")
	}
	if q := Of("test", sha256.Sum256([]byte("tucdesl"))); q == p {
		t.Error("two hashes give one phrase")
	}
}

func TestParse(t *testing.T) {
	for s, ok := range map[string]bool{
		"zoo abandon ability able about above":       true,
		" ZOO-aban\tabil able\nabou  Above ":         true,
		"zoo abandon ability able about":             false,
		"zoo abandon ability able about above above": false,
		"zoo abandon ability able about abovee":      false, // longer than the word
		"zo abandon ability able about above":        false, // "zo" begins zone and zoo
		"zoo abandonx ability able about above":      false,
		"zoo aba ability able about above":           false,
		"":                                           false,
		"zoo\x00abandon ability able about above":    false,
		strings.Repeat("zoo ", 200):                  false,
	} {
		p, err := Parse(s)
		switch {
		case ok && (err != nil || p.String() != "zoo abandon ability able about above"):
			t.Errorf("%q: %q %v", s, p, err)
		case !ok && (!errors.Is(err, ErrMalformed) || !p.IsZero()):
			t.Errorf("%q: %q %v", s, p, err)
		}
	}
	if (Phrase{}).String() != "" {
		t.Error("the zero phrase says something")
	}
}

// The reason names the word by its number; what was typed may be hostile.
func TestParseNamesTheWord(t *testing.T) {
	_, err := Parse("zoo abandon \x1b[2J able about above")
	if err == nil || !strings.Contains(err.Error(), "word 3") || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("zoo abandon ability able about above")
	f.Add("Zoo-ABAN abil able about  above")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if q, err := Parse(p.String()); err != nil || q != p {
			t.Errorf("%q: %q, then %q %v", s, p, q, err)
		}
	})
}

// What is remembered is what would be computed, of each context its own, and
// bounded.
func TestRecent(t *testing.T) {
	a, b := Of("a", [32]byte{1}), Of("b", [32]byte{1})
	if a == b || Of("a", [32]byte{1}) != a || Of("b", [32]byte{1}) != b || compute(question{"a", [32]byte{1}}) != a {
		t.Error("a phrase depends on what was asked before")
	}
	var m memory
	for i := range len(m.last) + 1 {
		m.put(question{"", [32]byte{byte(i)}}, Phrase{ok: true})
	}
	if _, ok := m.get(question{}); ok {
		t.Error("the first is still there")
	}
	if _, ok := m.get(question{"", [32]byte{1}}); !ok {
		t.Error("the second is gone")
	}
}

func BenchmarkOf(b *testing.B) {
	for b.Loop() {
		compute(question{"test", [32]byte{}})
	}
}
