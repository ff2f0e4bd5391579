package newcomer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// The ceremonies themselves, also against servers that lie, are tested with both
// of their ends in tui/team.

func card(seq uint64) contact.Card {
	h := envelope.Sum([]byte("x"))
	return contact.Card{
		V: contact.Version, API: "http://127.0.0.1:1", Rendezvous: "http://127.0.0.1:2", TeamID: "acme", TeamFP: h,
		Head: roster.Head{Seq: seq, Hash: h},
	}
}

func TestTeamIsKeptOnce(t *testing.T) {
	dir := t.TempDir()
	if _, err := Team(dir); !errors.Is(err, ErrNoTeam) {
		t.Errorf("before: %v", err)
	}
	if err := keep(dir, card(3)); err != nil {
		t.Fatal(err)
	}
	if c, err := Team(dir); err != nil || c.Head.Seq != 3 {
		t.Errorf("%+v %v", c, err)
	}
	if err := keep(dir, card(4)); !errors.Is(err, ErrTeam) {
		t.Errorf("a second team: %v", err)
	}
	if c, err := Team(dir); err != nil || c.Head.Seq != 3 {
		t.Errorf("%+v %v", c, err)
	}
	path := filepath.Join(dir, teamFile)
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	// A damaged file is no reason to be without a team.
	if err := os.WriteFile(path, []byte("tdc1.xx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Team(dir); err == nil || errors.Is(err, ErrNoTeam) {
		t.Errorf("damaged: %v", err)
	}
}

// Bad input shows no key, makes no folder and asks nobody.
func TestPairRefusesBadInput(t *testing.T) {
	show := func(string) error { t.Error("a key was shown"); return nil }
	for name, c := range map[string]struct {
		api  string
		want error
	}{
		"http beyond loopback": {"http://tucdesk.example.com", wire.ErrPlainHTTP},
		"no URL":               {"tucdesk", nil},
		"nobody there":         {"http://127.0.0.1:1", wire.ErrUnavailable},
	} {
		dir := filepath.Join(t.TempDir(), "agent")
		_, err := Pair(t.Context(), Options{Dir: dir}, c.api, nil, show)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was made: %v", name, err)
		}
	}
	if _, err := Pair(t.Context(), Options{}, "http://127.0.0.1:1", nil, show); err == nil {
		t.Error("without a folder")
	}
}

func TestEnrolRefusesOldTokens(t *testing.T) {
	then := time.Now().Add(-2 * time.Hour)
	token, err := contact.NewToken(contact.TokenTerms{
		Card: card(3), Names: "ci-", Tags: map[string]string{"env": "ci"}, LoginUser: "build", MaxUses: 1,
		Created: then.Unix(), Exp: then.Add(time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Enrol(t.Context(), Options{Dir: dir}, token); !errors.Is(err, contact.ErrExpired) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}

func TestCommands(t *testing.T) {
	for _, args := range [][]string{
		{"pair"}, {"pair", "http://127.0.0.1:1", "--pin", "nonsense"}, {"enroll"}, {"enroll", "--token", "nonsense"},
		{"enroll", "--token", "a", "--token-file", "b"}, {"enroll", "--token-file", filepath.Join(t.TempDir(), "none")},
	} {
		for _, cmd := range Commands(filepath.Join(t.TempDir(), "agent")) {
			if cmd.Name() != args[0] {
				continue
			}
			var out strings.Builder
			cmd.SetArgs(args[1:])
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			if err := cmd.ExecuteContext(t.Context()); err == nil {
				t.Errorf("%v: %s", args, out.String())
			}
		}
	}
}
