package keys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

func load(t *testing.T, dir, purpose string) []key.Public {
	t.Helper()
	r, err := Load(dir, purpose)
	if err != nil {
		t.Fatal(err)
	}
	return r.Publics()
}

// TestRotation walks through all steps, each purpose by itself the same.
func TestRotation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "rendezvous.key")); err != nil { // it lives on its own host
		t.Fatal(err)
	}
	for _, step := range []func(string) error{Switch, Retire} {
		if err := step(dir); !errors.Is(err, ErrState) {
			t.Errorf("out of turn: %v", err)
		}
	}
	first := load(t, dir, Grant)
	secrets := func() cred.Ring {
		t.Helper()
		r, err := keyfile.LoadRelaySecrets(filepath.Join(dir, RelayFile))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	firstSecret := secrets()
	for range 2 { // the second time there is nothing to make
		if err := Rotate(dir); err != nil {
			t.Fatal(err)
		}
	}
	both := load(t, dir, Grant)
	if len(both) != 2 || both[0] != first[0] {
		t.Fatalf("after rotate: %v, was %v", both, first)
	}
	bothSecrets := secrets()
	if len(bothSecrets) != 2 || bothSecrets[0] != firstSecret[0] {
		t.Fatalf("after rotate there are %d secrets of the relay", len(bothSecrets))
	}
	if err := Switch(dir); err != nil {
		t.Fatal(err)
	}
	if got := load(t, dir, Grant); !slices.Equal(got, []key.Public{both[1], both[0]}) {
		t.Fatalf("after switch: %v, was %v", got, both)
	}
	if got := secrets(); !slices.Equal(got, cred.Ring{bothSecrets[1], bothSecrets[0]}) {
		t.Fatal("after switch the relay's secrets are not exchanged")
	}
	for _, step := range []func(string) error{Switch, Rotate} {
		if err := step(dir); !errors.Is(err, ErrState) {
			t.Errorf("out of turn: %v", err)
		}
	}
	if err := Retire(dir); err != nil {
		t.Fatal(err)
	}
	if got := load(t, dir, Grant); !slices.Equal(got, both[1:]) {
		t.Fatalf("after retire: %v, want %v", got, both[1:])
	}
	if got := secrets(); !slices.Equal(got, bothSecrets[1:]) {
		t.Fatal("after retire the relay's old secret is there")
	}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		info, ierr := e.Info()
		if err == nil && ierr == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return errors.Join(err, ierr)
	}); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(t.TempDir()); !errors.Is(err, ErrState) {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestInterruptedSwitch repeats a switch that ended at any point.
func TestInterruptedSwitch(t *testing.T) {
	for point := range 3 {
		dir := filepath.Join(t.TempDir(), "keys")
		if err := errors.Join(Init(dir), Rotate(dir)); err != nil {
			t.Fatal(err)
		}
		before := load(t, dir, Token)
		grant := filepath.Join(dir, "grant.key")
		if point > 0 {
			if err := os.Link(grant, grant+".old"); err != nil {
				t.Fatal(err)
			}
		}
		if point > 1 {
			if err := os.Rename(grant+".next", grant); err != nil {
				t.Fatal(err)
			}
		}
		if err := Switch(dir); err != nil {
			t.Fatalf("point %d: %v", point, err)
		}
		for _, purpose := range purposes {
			if r, err := Load(dir, purpose); err != nil || len(r) != 2 {
				t.Errorf("point %d: %s: %d keys, %v", point, purpose, len(r), err)
			}
		}
		if got := load(t, dir, Token); got[0] != before[1] || got[1] != before[0] {
			t.Errorf("point %d: %v, was %v", point, got, before)
		}
	}
}

func TestRingFor(t *testing.T) {
	a, b, c := key.IdentityFromSeed([32]byte{1}), key.IdentityFromSeed([32]byte{2}), key.IdentityFromSeed([32]byte{3})
	r := Ring{a, b}
	for _, tt := range []struct {
		named []key.Public
		want  key.Identity
	}{
		{nil, a},
		{[]key.Public{c.Public()}, a},
		{[]key.Public{b.Public()}, b},
		{[]key.Public{b.Public(), a.Public()}, a},
	} {
		if got := r.For(tt.named); got.Kid() != tt.want.Kid() {
			t.Errorf("named %v: %v", tt.named, got.Kid())
		}
	}
	if got := (Ring{}).For([]key.Public{a.Public()}); !got.IsZero() {
		t.Error("an empty ring signs")
	}
}

func TestCommandPrintsNoSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	for _, step := range []string{"init", "rotate", "switch", "retire"} {
		var out bytes.Buffer
		cmd := Command()
		cmd.SetOut(&out)
		cmd.SetArgs([]string{step, dir})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "tds1") || strings.Contains(out.String(), "tdr1") {
			t.Errorf("%s prints a secret", step)
		}
		if n := strings.Count(out.String(), "tdp1"); n != map[string]int{"init": 4, "rotate": 8, "switch": 8, "retire": 4}[step] {
			t.Errorf("%s prints %d keys:\n%s", step, n, out.String())
		}
	}
}

// A unit of systemd hands over a file without a key for each key that a rotation
// would bring. In place of the key in use it is refused.
func TestNoneInItsPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	first := load(t, dir, Grant)
	for _, end := range []string{keyfile.Next, keyfile.Old} {
		if err := os.WriteFile(file(dir, Grant)+end, []byte("# none"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := load(t, dir, Grant); !slices.Equal(got, first) {
		t.Errorf("got %v, want %v", got, first)
	}
	if err := os.WriteFile(file(dir, Grant), []byte("# none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, Grant); !errors.Is(err, keyfile.ErrNone) {
		t.Errorf("without a key in use: %v", err)
	}
}
