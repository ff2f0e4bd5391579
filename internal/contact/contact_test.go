package contact

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

var now = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)

// A newcomer is a device or an agent with its own keys.
type newcomer struct {
	id      key.Identity
	to      key.Recipient
	request []byte
	hash    envelope.Hash
}

func newNewcomer(t testing.TB, change ...func(*Request)) newcomer {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	n := newcomer{id: id, to: u.Recipient()}
	r := Request{Recipient: n.to, Time: now.Unix(), Name: "web-1", User: "deploy", OS: "linux/amd64"}
	for _, c := range change {
		c(&r)
	}
	if n.request, n.hash, err = SignRequest(id, r); err != nil {
		t.Fatal(err)
	}
	return n
}

func asDevice(r *Request) { r.Email = "alice@example.com" }

// newTeam gives a team's genesis and card.
func newTeam(t testing.TB, name string) (Answer, *roster.Roster) {
	t.Helper()
	admin := newNewcomer(t)
	genesis, err := roster.Found(roster.Genesis{
		TeamID: name, Threshold: 1, Created: now.Unix(),
		Admins: []roster.AdminDevice{{MemberID: "carol", Email: "carol@example.com", Roles: []string{}, Device: roster.DeviceBody{
			Public: admin.id.Public(), Recipient: admin.to, Exp: now.Add(time.Hour).Unix(),
		}}},
	}, admin.id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.Open(genesis)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Genesis: genesis, Name: "web-1", Card: Card{
		V: Version, API: "https://api.example.com", Rendezvous: "https://meet.example.com:8444",
		TeamID: name, TeamFP: r.TeamFP(), Head: r.Head(),
	}}, r
}

func newTestToken(t testing.TB) Token {
	t.Helper()
	a, _ := newTeam(t, "acme")
	token, err := NewToken(TokenTerms{
		Card: a.Card, Names: "ci-", Tags: map[string]string{"env": "ci"}, LoginUser: "build",
		MaxUses: 3, Created: now.Unix(), Exp: now.Add(TokenLife).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A ceremony is a meeting as each of its ends has it, with who comes to it.
type ceremony struct {
	theirs, ours Meeting // of the newcomer, of the admin
	who          newcomer
	other        newcomer // of the same kind, who was not meant; for a fleet, nobody
}

func ceremonies(t testing.TB) map[string]ceremony {
	t.Helper()
	once.Do(func() { all = newCeremonies(t) }) // words take their time
	return all
}

var (
	once sync.Once
	all  map[string]ceremony
)

func newCeremonies(t testing.TB) map[string]ceremony {
	t.Helper()
	alice, eve := newNewcomer(t, asDevice), newNewcomer(t, asDevice)
	agent, rogue := newNewcomer(t), newNewcomer(t)
	typed, err := ParseKey(NewKey(agent.hash).Text())
	if err != nil {
		t.Fatal(err)
	}
	token := newTestToken(t)
	text, err := token.Text()
	if err != nil {
		t.Fatal(err)
	}
	copied, err := ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	machine := newNewcomer(t, func(r *Request) { r.Name = "ci-1" })
	phrase := DeviceWords(alice.id.Public(), alice.to)
	return map[string]ceremony{
		"device": {DeviceMeeting(phrase), DeviceMeeting(phrase), alice, eve},
		"pair":   {typed.Meeting(), typed.Meeting(), agent, rogue},
		"fleet":  {copied.Meeting(), token.Meeting(), machine, newNewcomer(t, func(r *Request) { r.Name = "web-1" })},
	}
}

func TestCeremonies(t *testing.T) {
	for name, c := range ceremonies(t) {
		t.Run(name, func(t *testing.T) {
			if c.theirs.Topic() != c.ours.Topic() {
				t.Fatal("the two ends look in different places")
			}
			post, err := c.theirs.Post(c.who.request)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.ours.Read(post)
			if err != nil || r.Body().Public != c.who.id.Public() || r.Hash() != c.who.hash {
				t.Fatalf("%v %v", r, err)
			}
			give, team := newTeam(t, "acme")
			b, err := c.ours.Answer(r, give)
			if err != nil {
				t.Fatal(err)
			}
			got, on, err := c.theirs.Open(c.who.hash, b)
			if name == "device" {
				if !errors.Is(err, ErrSecret) {
					t.Fatalf("an answer that nobody vouches for: %v", err)
				}
				got, on, err = InsecureOpen(b)
			}
			if err != nil || got.Card.TeamFP != team.TeamFP() || on.TeamFP() != team.TeamFP() || got.Card.Head != team.Head() {
				t.Fatalf("%+v %v", got, err)
			}
		})
	}
}

// A server that shows another newcomer than the one who was meant, signed in its
// own right or under the MAC of the true one, is found by the admin.
func TestServerSwapsKeys(t *testing.T) {
	for name, c := range ceremonies(t) {
		t.Run(name, func(t *testing.T) {
			post, err := c.theirs.Post(c.other.request) // who has the secret and still is another
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.ours.Read(post); !errors.Is(err, ErrMismatch) {
				t.Errorf("another's keys: %v", err)
			}
			plain, err := envelope.Marshal(posted{Request: c.other.request, MAC: []byte{}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.ours.Read(plain); err == nil {
				t.Error("another's keys without the secret were taken")
			}
		})
	}
}

// A server that answers itself, with a team of its own, is found by the newcomer:
// it does not have the secret. Nor does an answer serve for another request.
func TestServerAnswersItself(t *testing.T) {
	for name, c := range ceremonies(t) {
		if name == "device" {
			continue // the words of the team are what finds it: TestWordsTellTeamsApart
		}
		t.Run(name, func(t *testing.T) {
			evil, _ := newTeam(t, "acme")
			guess := NewKey(c.who.hash).Meeting()
			post, err := c.theirs.Post(c.who.request)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.ours.Read(post)
			if err != nil {
				t.Fatal(err)
			}
			forged, err := guess.Answer(r, evil)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := envelope.Marshal(evil)
			if err != nil {
				t.Fatal(err)
			}
			unsigned, err := envelope.Marshal(answered{Answer: payload, MAC: []byte{}})
			if err != nil {
				t.Fatal(err)
			}
			for what, b := range map[string][]byte{"another secret": forged, "no secret": unsigned} {
				if _, _, err := c.theirs.Open(c.who.hash, b); !errors.Is(err, ErrSecret) {
					t.Errorf("%s: %v", what, err)
				}
			}
			true1, err := c.ours.Answer(r, evil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.theirs.Open(c.other.hash, true1); !errors.Is(err, ErrSecret) {
				t.Errorf("an answer to another request: %v", err)
			}
		})
	}
}

func TestWordsTellTeamsApart(t *testing.T) {
	a, _ := newTeam(t, "acme")
	b, _ := newTeam(t, "acme")
	if a.Card.Words() == b.Card.Words() {
		t.Error("two teams of one name have the same words")
	}
}

// Every changed byte of a request and of an answer is refused.
func TestTampering(t *testing.T) {
	for name, c := range ceremonies(t) {
		t.Run(name, func(t *testing.T) {
			post, err := c.theirs.Post(c.who.request)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.ours.Read(post)
			if err != nil {
				t.Fatal(err)
			}
			step := 1
			if name == "device" {
				step = 97 // each try that passes the signature costs scrypt; none should
			}
			for i := 0; i < len(post); i += step {
				bad := append([]byte{}, post...)
				bad[i] ^= 1
				if _, err := c.ours.Read(bad); err == nil {
					t.Errorf("request, byte %d of %d: taken", i, len(post))
				}
			}
			if name == "device" {
				return
			}
			give, _ := newTeam(t, "acme")
			b, err := c.ours.Answer(r, give)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b {
				bad := append([]byte{}, b...)
				bad[i] ^= 1
				if _, _, err := c.theirs.Open(c.who.hash, bad); err == nil {
					t.Errorf("answer, byte %d of %d: taken", i, len(b))
				}
			}
		})
	}
}

func TestAnswerIsOfOneTeam(t *testing.T) {
	c := ceremonies(t)["pair"]
	post, _ := c.theirs.Post(c.who.request)
	r, err := c.ours.Read(post)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := newTeam(t, "acme")
	b, _ := newTeam(t, "acme")
	a.Genesis = b.Genesis
	if _, err := c.ours.Answer(r, a); !errors.Is(err, ErrMismatch) {
		t.Errorf("card and genesis of two teams: %v", err)
	}
}

func TestKeyText(t *testing.T) {
	n := newNewcomer(t)
	k := NewKey(n.hash)
	text := k.Text()
	if len(text) != len(keyPrefix)+keyChars/4*5 {
		t.Errorf("%d characters: %s", len(text), text)
	}
	typed := strings.NewReplacer("-", " ", "0", "O", "1", "l").Replace(strings.ToUpper(text[4:]))
	got, err := ParseKey("TDK1" + typed)
	if err != nil || got.Text() != text {
		t.Errorf("as people type it: %v", err)
	}
	// Each single typo, and each pair of swapped neighbours, is found.
	bare := strings.ReplaceAll(text, "-", "")
	for i := len(keyPrefix); i < len(bare); i++ {
		for _, c := range alphabet {
			if byte(c) == bare[i] {
				continue
			}
			if _, err := ParseKey(bare[:i] + string(c) + bare[i+1:]); !errors.Is(err, ErrTyped) {
				t.Fatalf("character %d as %c: %v", i, c, err)
			}
		}
		if i+1 < len(bare) && bare[i] != bare[i+1] {
			if _, err := ParseKey(bare[:i] + bare[i+1:i+2] + bare[i:i+1] + bare[i+2:]); !errors.Is(err, ErrTyped) {
				t.Fatalf("characters %d and %d swapped: %v", i, i+1, err)
			}
		}
	}
	for s, want := range map[string]error{
		"": ErrMalformed, "tdk1": ErrMalformed, text[:len(text)-1]: ErrMalformed, text + "0": ErrMalformed,
		"tdp1" + text[4:]: ErrMalformed, strings.Replace(bare, bare[10:11], "u", 1): ErrMalformed, strings.Repeat("0", 300): ErrMalformed,
	} {
		if _, err := ParseKey(s); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", s, err, want)
		}
	}
}

func TestTokenText(t *testing.T) {
	token := newTestToken(t)
	text, err := token.Text()
	if err != nil {
		t.Fatal(err)
	}
	folded := text[:40] + "\n  " + text[40:90] + "\r\n" + text[90:]
	got, err := ParseToken(folded)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := got.Text(); again != text {
		t.Error("not the inverse")
	}
	for i := len(tokenPrefix); i < len(text); i++ {
		c := byte('A')
		if text[i] == c {
			c = 'B'
		}
		if _, err := ParseToken(text[:i] + string(c) + text[i+1:]); !errors.Is(err, ErrTyped) {
			t.Fatalf("character %d changed: %v", i, err)
		}
	}
	for at, ok := range map[time.Duration]bool{-2 * time.Minute: false, -30 * time.Second: true, 0: true, TokenLife - time.Second: true, TokenLife: false} {
		if err := token.Valid(now.Add(at)); (err == nil) != ok || err != nil && !errors.Is(err, ErrExpired) {
			t.Errorf("%s after its making: %v", at, err)
		}
	}
}

func TestTokenTerms(t *testing.T) {
	good := newTestToken(t).TokenTerms
	for name, change := range map[string]func(*TokenTerms){
		"longer than an hour": func(x *TokenTerms) { x.Exp++ },
		"ends before":         func(x *TokenTerms) { x.Exp = x.Created },
		"no use":              func(x *TokenTerms) { x.MaxUses = 0 },
		"too many uses":       func(x *TokenTerms) { x.MaxUses = MaxUses + 1 },
		"no tags":             func(x *TokenTerms) { x.Tags = nil },
		"bad tag":             func(x *TokenTerms) { x.Tags = map[string]string{"env": "a\nb"} },
		"all names":           func(x *TokenTerms) { x.Names = "" },
		"no user":             func(x *TokenTerms) { x.LoginUser = "" },
		"no team":             func(x *TokenTerms) { x.Card.TeamFP = envelope.Hash{} },
		"no head":             func(x *TokenTerms) { x.Card.Head = roster.Head{} },
		"odd URL":             func(x *TokenTerms) { x.Card.API = "https://a b" },
	} {
		terms := good
		change(&terms)
		if _, err := NewToken(terms); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCardText(t *testing.T) {
	a, _ := newTeam(t, "acme")
	a.Card.Pins = []envelope.Hash{envelope.Sum([]byte("pin"))}
	text, err := a.Card.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCard(text)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(a.Card) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := ParseCard(strings.Replace(text, "tdc1.", "tde1.", 1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("of another kind: %v", err)
	}
	if _, err := ParseCard(text[:len(text)-3]); !errors.Is(err, ErrTyped) {
		t.Errorf("cut: %v", err)
	}
}

// No verb shows a secret.
func TestSecretsDoNotPrint(t *testing.T) {
	n := newNewcomer(t)
	k, token := NewKey(n.hash), newTestToken(t)
	secrets := [][16]byte{k.secret.b(), token.secret.b()}
	type box struct {
		K Key
		T Token
		M Meeting
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{k, &k, token, &token, box{k, token, k.Meeting()}, k.secret} {
			out := fmt.Sprintf(verb, v)
			for _, s := range secrets {
				for _, form := range []string{string(s[:]), fmt.Sprintf("%x", s), fmt.Sprint(s)[1:20]} {
					if strings.Contains(strings.ToLower(out), form) {
						t.Errorf("%s of %T shows a secret", verb, v)
					}
				}
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(NewKey(envelope.Sum([]byte("x"))).Text())
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		if again, err := ParseKey(k.Text()); err != nil || again.Text() != k.Text() {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	token := newTestToken(f)
	text, err := token.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	card, err := token.Card.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(card)
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseToken(s); err == nil {
			if again, err := token.Text(); err != nil || again != strings.Join(strings.Fields(s), "") {
				t.Errorf("%q: %q %v", s, again, err)
			}
		}
		if card, err := ParseCard(s); err == nil {
			if again, err := card.Text(); err != nil || again != strings.Join(strings.Fields(s), "") {
				t.Errorf("%q: %q %v", s, again, err)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	c := ceremonies(f)["pair"]
	post, err := c.theirs.Post(c.who.request)
	if err != nil {
		f.Fatal(err)
	}
	r, err := c.ours.Read(post)
	if err != nil {
		f.Fatal(err)
	}
	give, _ := newTeam(f, "acme")
	answer, err := c.ours.Answer(r, give)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(post)
	f.Add(answer)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := c.ours.Read(b); err == nil && got.Hash() != c.who.hash {
			t.Error("a request of nobody was taken")
		}
		if _, on, err := c.theirs.Open(c.who.hash, b); err == nil && on.TeamFP() != give.Card.TeamFP {
			t.Error("an answer of nobody was taken")
		}
		InsecureOpen(b)
	})
}
