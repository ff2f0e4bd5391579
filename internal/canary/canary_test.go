package canary

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// What is there is found, in each form, and what is not is not.
func TestFinds(t *testing.T) {
	secret := make([]byte, 32)
	rand.Read(secret)
	n := Needles{"secret": secret}
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"plain":  append([]byte("before"), secret...),
		"hex":    []byte(hex.EncodeToString(secret)),
		"base64": []byte(base64.URLEncoding.EncodeToString(append([]byte("x"), secret...))),
		"other":  bytes.Repeat([]byte("nothing"), 100),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, files, err := Files(dir, n.Encoded())
	if err != nil || files != 4 {
		t.Fatalf("%d files, %v", files, err)
	}
	hits := map[string]bool{}
	for at := range found {
		hits[filepath.Base(at[:bytes.IndexByte([]byte(at), ':')])] = true
	}
	if len(hits) != 3 || hits["other"] {
		t.Errorf("found in %v", found)
	}
	if runtime.GOOS != "linux" {
		return
	}
	inMemory, err := Memory(os.Getpid(), n)
	if err != nil || inMemory["secret"] == 0 {
		t.Errorf("in this process: %v, %v", inMemory, err)
	}
	if _, err := Memory(1<<22+1, n); err == nil {
		t.Error("nothing was found in no process, without an error")
	}
	runtime.KeepAlive(secret)
}
