package keyfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

func TestMadeOnceReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "device.key")
	a, err := Identity(path, "device identity")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Identity(path, "device identity")
	if err != nil || a.Kid() != b.Kid() {
		t.Fatalf("%v: %s then %s", err, a.Kid(), b.Kid())
	}
	upath := filepath.Join(filepath.Dir(path), "unsealer.key")
	u, err := Unsealer(upath, "test")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := LoadUnsealer(upath); err != nil || v.Recipient() != u.Recipient() {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 2 {
		t.Errorf("temporary files were left: %v", left)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	id, _ := key.GenerateIdentity()
	if runtime.GOOS != "windows" {
		if _, err := LoadIdentity(write("open", id.SecretText(), 0o644)); !errors.Is(err, ErrExposed) {
			t.Errorf("a key that others may read: %v", err)
		}
	}
	secret := id.SecretText()
	for name, content := range map[string]string{
		"empty":      "",
		"comments":   "# nothing\n",
		"cut":        secret[:20],
		"wrong kind": "AGE-SECRET-KEY-1XXXX",
		"too large":  strings.Repeat("#", 5000),
	} {
		_, err := LoadIdentity(write(name, content, 0o600))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), secret[4:20]) {
			t.Errorf("%s: the error holds key material", name)
		}
		// A file that is there and wrong is never replaced by a new key.
		if _, err := Identity(filepath.Join(dir, name), "x"); err == nil {
			t.Errorf("%s: replaced", name)
		}
	}
}

// systemd hands out a credential with mode 0440: root's group, and the service's
// user by an access list. Nothing else may look like that.
func TestCredential(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // no such modes
	}
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	dir, other := t.TempDir(), t.TempDir()
	for _, tt := range []struct {
		dir, credentials string
		mode             os.FileMode
		exposed          bool
	}{
		{dir, dir, 0o440, false},
		{dir, dir + "/", 0o440, false},
		{dir, dir, 0o400, false},
		{dir, dir, 0o444, true},
		{dir, dir, 0o640, true},
		{dir, other, 0o440, true},
		{dir, filepath.Dir(dir), 0o440, true},
		{dir, "", 0o440, true},
		{dir, "", 0o600, false},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", tt.credentials)
		path := filepath.Join(tt.dir, "grant.key")
		os.Remove(path)
		if err := os.WriteFile(path, []byte(id.SecretText()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadIdentity(path)
		if errors.Is(err, ErrExposed) != tt.exposed || err != nil && !tt.exposed {
			t.Errorf("mode %04o in the directory %q: %v", tt.mode, tt.credentials, err)
		}
	}
}
