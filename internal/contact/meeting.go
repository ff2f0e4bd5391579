package contact

import (
	"crypto/hmac"
	"errors"
	"fmt"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/words"
)

// Limits of what passes a mailbox. Both ends and the mailbox keep them.
const (
	MaxRequest = 8 << 10                   // bytes of a posted request
	MaxAnswer  = envelope.MaxSize + 16<<10 // bytes of an answer: a genesis and a card
)

// Labels of the MACs.
const (
	labelRequest = "tucdesk contact request v1"
	labelAnswer  = "tucdesk contact answer v1"
)

// A Request is what a newcomer says of itself, signed by the key that is in it.
type Request struct {
	V         uint64        `cbor:"v"`
	Public    key.Public    `cbor:"public"`
	Recipient key.Recipient `cbor:"recipient"`
	Time      int64         `cbor:"time"`  // Unix seconds
	Email     string        `cbor:"email"` // of a device's member; empty for an agent
	Name      string        `cbor:"name"`  // of the machine, as it calls itself or wishes to be called; may be empty
	User      string        `cbor:"user"`  // that an agent proposes as login user; may be empty
	OS        string        `cbor:"os"`
}

// Context implements token.Body.
func (Request) Context() string { return "tucdesk contact v1" }

// Check implements token.Body.
func (r Request) Check(signer key.Kid) error {
	switch {
	case r.V != Version:
		return malformed("request: unknown version %d; update TucDesk", r.V)
	case r.Public.IsZero() || r.Recipient.IsZero() || r.Time <= 0:
		return malformed("request: public, recipient or time is missing")
	case r.Public.Kid() != signer:
		return malformed("request: not signed by its own key")
	}
	for name, s := range map[string]string{"email": r.Email, "name": r.Name, "user": r.User, "os": r.OS} {
		if s != "" && sanitize.Name(s) != nil {
			return malformed("request: %s is not a name that may enter the system", name)
		}
	}
	return nil
}

// A VerifiedRequest is a request whose own signature is good. Whose it is, a
// Meeting says.
type VerifiedRequest = token.Signed[Request]

// SignRequest signs a newcomer's request. It sets V and Public.
func SignRequest(id key.Identity, r Request) ([]byte, envelope.Hash, error) {
	r.V, r.Public = Version, id.Public()
	b, err := token.Sign(id, r)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	v, err := verifyRequest(b)
	return b, v.Hash(), err
}

func verifyRequest(b []byte) (VerifiedRequest, error) {
	u, err := token.Parse(b)
	if err != nil {
		return VerifiedRequest{}, err
	}
	var r Request
	if err := u.InsecureDecode(&r); err != nil {
		return VerifiedRequest{}, err
	}
	return token.VerifySigned[Request](u, envelope.One(r.Public))
}

// posted is a request as it lies in a mailbox.
type posted struct {
	Request []byte `cbor:"request"`
	MAC     []byte `cbor:"mac"` // empty where the two ends share no secret
}

// An Answer tells a newcomer which team has taken it.
type Answer struct {
	V       uint64 `cbor:"v"`
	Card    Card   `cbor:"card"`    // Head is at or after the statement that adds the newcomer
	Genesis []byte `cbor:"genesis"` // envelope
	Name    string `cbor:"name"`    // as the roster has it: of an agent, or a member's e-mail
}

// answered is an answer as it lies in a mailbox.
type answered struct {
	Answer []byte `cbor:"answer"` // an Answer
	MAC    []byte `cbor:"mac"`    // empty where the two ends share no secret
}

// A Meeting is where and how one newcomer and who may add it find each other.
// The zero Meeting believes nothing.
type Meeting struct {
	topic  envelope.Hash
	secret secret                      // zero: they share none
	expect func(VerifiedRequest) error // is this who was meant?
}

// DeviceMeeting gives the meeting of a device, by its words.
func DeviceMeeting(p words.Phrase) Meeting {
	return Meeting{
		topic: envelope.Sum([]byte("tucdesk contact topic of a device v1\x00" + p.String())),
		expect: func(r VerifiedRequest) error {
			b := r.Body()
			if p.IsZero() || b.Email == "" || DeviceWords(b.Public, b.Recipient) != p {
				return fmt.Errorf("%w: the server shows a device with other words than those that you typed", ErrMismatch)
			}
			return nil
		},
	}
}

// Topic is the mailbox' name for the meeting. Only who knows words, key or token
// knows it.
func (m Meeting) Topic() envelope.Hash { return m.topic }

// Post gives a signed request as it is put into a mailbox.
func (m Meeting) Post(request []byte) ([]byte, error) {
	p := posted{Request: request}
	if !m.secret.isZero() {
		p.MAC = m.secret.mac(labelRequest, request)
	}
	b, err := envelope.Marshal(p)
	if err == nil && len(b) > MaxRequest {
		err = malformed("a request of %d bytes, at most %d", len(b), MaxRequest)
	}
	return b, err
}

// Read checks what lies in a mailbox: ErrSecret and ErrMismatch mean that
// somebody else put it there, or that the server has changed it.
func (m Meeting) Read(b []byte) (VerifiedRequest, error) {
	if m.expect == nil {
		return VerifiedRequest{}, errors.New("contact: internal error: the zero meeting")
	}
	var p posted
	if len(b) > MaxRequest {
		return VerifiedRequest{}, malformed("a request of %d bytes", len(b))
	}
	if err := envelope.Unmarshal(b, &p); err != nil {
		return VerifiedRequest{}, malformed("a request: %v", err)
	}
	if m.secret.isZero() != (len(p.MAC) == 0) || !m.secret.isZero() && !hmac.Equal(p.MAC, m.secret.mac(labelRequest, p.Request)) {
		return VerifiedRequest{}, ErrSecret
	}
	r, err := verifyRequest(p.Request)
	if err != nil {
		return VerifiedRequest{}, err
	}
	if err := m.expect(r); err != nil {
		return VerifiedRequest{}, err
	}
	return r, nil
}

// Answer gives an answer to a request, as it is put into a mailbox.
func (m Meeting) Answer(to VerifiedRequest, a Answer) ([]byte, error) {
	a.V, a.Card.V = Version, Version
	if _, err := a.open(); err != nil {
		return nil, err
	}
	payload, err := envelope.Marshal(a)
	if err != nil {
		return nil, err
	}
	out := answered{Answer: payload}
	if !m.secret.isZero() {
		h := to.Hash()
		out.MAC = m.secret.mac(labelAnswer, h[:], payload)
	}
	b, err := envelope.Marshal(out)
	if err == nil && len(b) > MaxAnswer {
		err = malformed("an answer of %d bytes, at most %d", len(b), MaxAnswer)
	}
	return b, err
}

// Open checks an answer to the request with this hash, and gives it with the
// genesis' roster. It needs a secret that the two ends share.
func (m Meeting) Open(request envelope.Hash, b []byte) (Answer, *roster.Roster, error) {
	w, err := readAnswered(b)
	if err != nil {
		return Answer{}, nil, err
	}
	if m.secret.isZero() || !hmac.Equal(w.MAC, m.secret.mac(labelAnswer, request[:], w.Answer)) {
		return Answer{}, nil, ErrSecret
	}
	return w.open()
}

// InsecureOpen is Open where the two ends share no secret: anybody can have made
// the answer. Nothing of it is used before a person has compared the words of
// its team, or it is of a team that was known before.
func InsecureOpen(b []byte) (Answer, *roster.Roster, error) {
	w, err := readAnswered(b)
	if err != nil {
		return Answer{}, nil, err
	}
	return w.open()
}

func readAnswered(b []byte) (w answered, err error) {
	if len(b) > MaxAnswer {
		return w, malformed("an answer of %d bytes", len(b))
	}
	if err := envelope.Unmarshal(b, &w); err != nil {
		return w, malformed("an answer: %v", err)
	}
	return w, nil
}

func (w *answered) open() (Answer, *roster.Roster, error) {
	var a Answer
	if err := envelope.Unmarshal(w.Answer, &a); err != nil {
		return Answer{}, nil, malformed("an answer: %v", err)
	}
	r, err := a.open()
	if err != nil {
		return Answer{}, nil, err
	}
	return a, r, nil
}

// open checks an answer's form, and that its genesis is of the team it names.
func (a *Answer) open() (*roster.Roster, error) {
	if a.V != Version {
		return nil, malformed("answer: unknown version %d; update TucDesk", a.V)
	}
	if err := a.Card.Check(); err != nil {
		return nil, err
	}
	if sanitize.Name(a.Name) != nil {
		return nil, malformed("answer: name is not one that may enter the system")
	}
	r, err := roster.Open(a.Genesis)
	if err != nil {
		return nil, err
	}
	if r.TeamFP() != a.Card.TeamFP || r.TeamID() != a.Card.TeamID {
		return nil, fmt.Errorf("%w: the genesis is of another team than the card", ErrMismatch)
	}
	return r, nil
}
