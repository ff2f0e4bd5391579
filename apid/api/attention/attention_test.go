package attention

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Neither a device nor a team can fill the book for the others, and time empties it.
func TestBounds(t *testing.T) {
	var b Book
	now := time.Unix(1_790_000_000, 0)
	note := func(team string, device, member int) error {
		_, err := b.note(team, reader{token.NewID(), key.Kid{byte(device), byte(device >> 8), 1}, fmt.Sprint(member), now, now.Add(life)}, false)
		return err
	}
	full := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, wire.ErrTooMany) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range maxDevice {
		if err := note("acme", 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	full("one device", note("acme", 0, 0))
	for i := maxDevice; i < maxTeam; i++ {
		if err := note("acme", i, i); err != nil {
			t.Fatal(err)
		}
	}
	full("one team", note("acme", maxTeam, 0))
	for i := 1; i < maxTeams; i++ {
		if err := note(fmt.Sprint(i), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	full("all teams", note("one more", 0, 0))
	now = now.Add(life)
	if err := note("one more", 0, 0); err != nil || len(b.teams) != 1 {
		t.Errorf("later: %v, %d teams are kept", err, len(b.teams))
	}
}

// A member with two devices is named once, since the first of them.
func TestReading(t *testing.T) {
	var b Book
	id, began := token.NewID(), time.Unix(1_790_000_000, 0)
	for i, r := range []reader{{id: id, member: "bob"}, {id: id, member: "beth"}, {id: id, member: "bob"}, {id: token.NewID(), member: "carl"}} {
		r.kid, r.since = key.Kid{byte(i + 1)}, began.Add(time.Duration(i)*time.Second)
		r.until = r.since.Add(life)
		if changed, err := b.note("acme", r, false); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	at := began.Add(10 * time.Second)
	for _, tc := range []struct {
		team string
		skip []string
		want string
	}{
		{"acme", nil, "[{bob 10} {beth 9}]"}, {"acme", []string{"bob"}, "[{beth 9}]"}, {"eve-corp", nil, "[]"},
	} {
		if got := fmt.Sprint(b.reading(tc.team, id, at, tc.skip)); got != tc.want {
			t.Errorf("%s without %v: %s, want %s", tc.team, tc.skip, got, tc.want)
		}
	}
	// Its first device is over: the second stays.
	if got := fmt.Sprint(b.reading("acme", id, began.Add(life), nil)); got != "[{beth 29} {bob 28}]" {
		t.Errorf("at the end of the first: %s", got)
	}
}
