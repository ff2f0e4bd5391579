package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// algorithm is the one signature algorithm (RFC 8037). A token can't choose.
const algorithm = "EdDSA"

var b64 = base64.RawURLEncoding.Strict()

// unbase64 refuses padding, line breaks (which encoding/base64 skips) and
// trailing bits, so that each text has one encoding.
func unbase64(s string) ([]byte, error) {
	b, err := b64.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, malformed("not unpadded base64url")
	}
	return b, nil
}

// A jws is a compact JWS (RFC 7515 section 7.1) that was taken apart, with its
// signature not checked.
type jws struct {
	compact   string
	header    object
	claims    object
	signature []byte
}

// parseJWS takes a compact JWS apart. Its header has exactly the named members.
func parseJWS(s, typ string, header ...string) (jws, error) {
	if len(s) > maxHeader {
		return jws{}, malformed("%d characters, at most %d", len(s), maxHeader)
	}
	if strings.Count(s, ".") != 2 { // before Split, so that dots cost no memory
		return jws{}, malformed("a compact JWS has exactly two dots")
	}
	parts := strings.Split(s, ".")
	t := jws{compact: s}
	for i, into := range []*object{&t.header, &t.claims} {
		b, err := unbase64(parts[i])
		if err != nil {
			return jws{}, err
		}
		if *into, err = parseObject(b); err != nil {
			return jws{}, err
		}
	}
	var err error
	if t.signature, err = unbase64(parts[2]); err != nil {
		return jws{}, err
	}
	if len(t.signature) != ed25519.SignatureSize {
		return jws{}, malformed("a signature has %d bytes", ed25519.SignatureSize)
	}
	if err := t.header.only(append(header, "alg", "typ")...); err != nil {
		return jws{}, err
	}
	if alg, err := t.header.text("alg"); err != nil || alg != algorithm {
		return jws{}, malformed("alg must be %s", algorithm)
	}
	if got, err := t.header.text("typ"); err != nil || got != typ {
		return jws{}, malformed("typ must be %s", typ)
	}
	return t, nil
}

// verify checks the signature with one key. The algorithm comes from the
// program, both here and in the library.
func (t jws) verify(by key.Public) error {
	if by.IsZero() {
		return ErrUnknownKey
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(t.compact, jwt.MapClaims{}, func(*jwt.Token) (any, error) {
		return ed25519.PublicKey(by.Bytes()), nil
	})
	if err != nil {
		return ErrSignature // the library's text may quote the token
	}
	return nil
}

// signJWS makes a compact JWS. Header and claims are structs, so that members
// stand in one order.
func signJWS(id key.Identity, header, claims any) (string, error) {
	if id.IsZero() {
		return "", fmt.Errorf("token: signing with the zero identity")
	}
	var parts [2]string
	for i, v := range []any{header, claims} {
		b, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		parts[i] = b64.EncodeToString(b)
	}
	input := parts[0] + "." + parts[1]
	sig, err := jwt.SigningMethodEdDSA.Sign(input, id.RawSigner())
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	s := input + "." + b64.EncodeToString(sig)
	if len(s) > maxHeader {
		return "", malformed("%d characters, at most %d", len(s), maxHeader)
	}
	return s, nil
}

// An object is a JSON object whose members were seen once each. Member names
// are compared exactly, unlike encoding/json's structs.
type object map[string]json.RawMessage

// parseObject refuses what RFC 8725 section 2.4 and RFC 8259 section 4 leave
// open: duplicate members, trailing bytes, text that is not UTF-8.
func parseObject(b []byte) (object, error) {
	if !utf8.Valid(b) {
		return nil, malformed("JSON that is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed("not a JSON object")
	}
	o := make(object)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, malformed("not a JSON object")
		}
		if _, twice := o[name]; twice {
			return nil, malformed("a JSON member stands twice")
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, malformed("not a JSON object")
		}
		o[name] = v
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, malformed("not a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, malformed("bytes after the JSON object")
	}
	return o, nil
}

// only refuses members other than these, and requires each of them.
func (o object) only(names ...string) error {
	for _, n := range names {
		if _, ok := o[n]; !ok {
			return malformed("%s is missing", n)
		}
	}
	if len(o) != len(names) {
		return malformed("unknown, repeated or differently spelt members; allowed are %s", strings.Join(names, ", "))
	}
	return nil
}

// maxText bounds one text claim, in bytes.
const maxText = 2048

// text gives a member that is a non-empty string.
func (o object) text(name string) (string, error) {
	raw := o[name]
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", malformed("%s is not a string", name)
	}
	// encoding/json puts U+FFFD for half a surrogate pair.
	if s == "" || len(s) > maxText || !plain(s) || strings.ContainsRune(s, utf8.RuneError) {
		return "", malformed("%s has not 1 to %d bytes of plain text", name, maxText)
	}
	return s, nil
}

// seconds gives a member that is a whole, positive number without exponent.
func (o object) seconds(name string) (int64, error) {
	n, err := strconv.ParseInt(string(o[name]), 10, 64)
	if err != nil || n <= 0 || n > 1<<40 {
		return 0, malformed("%s is not a time in whole seconds", name)
	}
	return n, nil
}

// inner gives a member that is an object with exactly these members.
func (o object) inner(name string, members ...string) (object, error) {
	in, err := parseObject(o[name])
	if err != nil {
		return nil, err
	}
	return in, in.only(members...)
}

// kid gives a member that is a key id.
func (o object) kid(name string) (key.Kid, error) {
	s, err := o.text(name)
	if err != nil {
		return key.Kid{}, err
	}
	k, err := key.ParseKid(s)
	if err != nil || k.String() != s { // one text for each key id
		return key.Kid{}, malformed("%s is not a key id of 43 characters of base64url", name)
	}
	return k, nil
}

// hash gives a member that is a SHA-256 in base64url.
func (o object) hash(name string) (envelope.Hash, error) {
	s, err := o.text(name)
	if err != nil {
		return envelope.Hash{}, err
	}
	b, err := unbase64(s)
	if err != nil || len(b) != len(envelope.Hash{}) {
		return envelope.Hash{}, malformed("%s is not a SHA-256 in base64url", name)
	}
	return envelope.Hash(b), nil
}
