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
