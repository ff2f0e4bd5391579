package sanitize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// alphabetTables are the scripts whose letters are taken for each other.
// Writing systems that are mixed in ordinary words (Han with kana, for
// instance) are not among them. Latin stands first.
var alphabetTables = [...]struct {
	name  string
	table *unicode.RangeTable
}{
	{"Latin", unicode.Latin},
	{"Cyrillic", unicode.Cyrillic},
	{"Greek", unicode.Greek},
	{"Armenian", unicode.Armenian},
	{"Cherokee", unicode.Cherokee},
	{"Coptic", unicode.Coptic},
	{"Georgian", unicode.Georgian},
	{"Lisu", unicode.Lisu},
	{"Deseret", unicode.Deseret},
	{"Glagolitic", unicode.Glagolitic},
}

// latinLookAlikes are letters of other alphabets that common fonts draw like
// Latin ones. Letters outside it show that a text really is in that alphabet.
const latinLookAlikes = "АВЕЅІЈКМНОРСТУХЗԚԜҮӀаеѕіјорсухԛԝүһӏԁɡвкмнтгпьзЬ" +
	"ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγικνορτυχω" +
	"օսոցհԼՕՍ"

// alphabets collects which of alphabetTables some letters belong to.
type alphabets struct {
	seen    uint16 // bit i: alphabetTables[i]
	genuine uint16 // bit i: with a letter that does not look Latin
}

func alphabetsOf(s string) alphabets {
	var a alphabets
	for _, r := range s {
		a.add(r)
	}
	return a
}

func (a *alphabets) add(r rune) {
	if r < utf8.RuneSelf {
		if isWord(r) && r > '9' {
			a.seen |= 1
		}
		return
	}
	for i, alphabet := range alphabetTables {
		if !unicode.Is(alphabet.table, r) {
			continue
		}
		a.seen |= 1 << i
		if !strings.ContainsRune(latinLookAlikes, r) {
			a.genuine |= 1 << i
		}
		return
	}
}

// suspicious names what is wrong with a word in a line with these alphabets:
// two alphabets in one word, or one foreign alphabet of which the whole line
// shows only letters that look Latin. It returns "" for an honest word.
func (a alphabets) suspicious(line alphabets) string {
	var names []string
	for i, alphabet := range alphabetTables {
		if a.seen&(1<<i) != 0 {
			names = append(names, alphabet.name)
		}
	}
	switch {
	case len(names) > 1:
		return "mixed " + strings.Join(names, "+")
	case len(names) == 1 && a.seen != 1 && a.seen&line.genuine == 0:
		return names[0]
	}
	return ""
}

func (a alphabets) flag(b *strings.Builder, line alphabets) {
	if a.seen <= 1 {
		return
	}
	if what := a.suspicious(line); what != "" {
		b.WriteString("⟨" + what + "⟩")
	}
}
