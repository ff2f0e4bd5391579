package profile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// An import names a team, makes no key, and is never made over another.
func TestImport(t *testing.T) {
	h := enrolled(t)
	card := h.Profile.Card(h.Roster())
	card.Rendezvous = "https://meet.example.com"
	card.API = "https://api.example.com"
	card.Pins = []envelope.Hash{{1}}
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := Imported(dir); !errors.Is(err, ErrNone) {
		t.Errorf("before: %v", err)
	}
	if err := Import(dir, contact.Card{}); !errors.Is(err, contact.ErrMalformed) {
		t.Errorf("an empty card: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("a bad card made a folder")
	}
	if err := Import(dir, card); err != nil {
		t.Fatal(err)
	}
	p, err := Imported(dir)
	if err != nil || !reflect.DeepEqual(p, Of(card)) {
		t.Errorf("%+v %v", p, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
	other := card
	other.TeamID = "evil"
	if err := Import(dir, other); err == nil {
		t.Error("a profile was overwritten")
	}
	if again, _ := Imported(dir); again.TeamID != p.TeamID {
		t.Error("a profile has changed")
	}
	if _, err := Open(dir); !errors.Is(err, ErrNone) {
		t.Errorf("an imported profile opens as a home: %v", err)
	}
}

// A home acts on no older roster than its profile was made with, nor on another
// of that number.
func TestBehind(t *testing.T) {
	h := enrolled(t)
	if err := h.Behind(); err != nil {
		t.Errorf("a home that was made before there was a floor: %v", err)
	}
	h.Profile.Head = h.Roster().Head()
	if err := h.Behind(); err != nil {
		t.Error(err)
	}
	for _, head := range []roster.Head{
		{Seq: h.Roster().Head().Seq + 1, Hash: envelope.Hash{1}},
		{Seq: h.Roster().Head().Seq, Hash: envelope.Hash{1}},
	} {
		h.Profile.Head = head
		if err := h.Behind(); !errors.Is(err, ErrOlder) {
			t.Errorf("%+v: %v", head, err)
		}
	}
}

// What is made once stays: another try after a crash sends the same.
func TestOnce(t *testing.T) {
	h := enrolled(t)
	made := 0
	create := func() ([]byte, error) { made++; return []byte{byte(made)}, nil }
	for range 2 {
		if b, err := h.Once("x", create); err != nil || b[0] != 1 {
			t.Errorf("%v %v", b, err)
		}
	}
	if err := h.Forget("x"); err != nil {
		t.Error(err)
	}
	if err := h.Forget("x"); err != nil {
		t.Errorf("again: %v", err)
	}
	if b, err := h.Once("x", create); err != nil || b[0] != 2 {
		t.Errorf("%v %v", b, err)
	}
	if _, err := h.Once("y", func() ([]byte, error) { return nil, errors.New("no") }); err == nil {
		t.Error("what could not be made was there")
	}
}
