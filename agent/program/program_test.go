package program

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/daemon"
)

func TestCommand(t *testing.T) {
	c := Command()
	env := daemon.NewEnv(slog.New(slog.DiscardHandler))
	dir := filepath.Join(t.TempDir(), "agent")
	good := "dir: " + dir + "\nteam_id: acme\nteam_fp: " + strings.Repeat("ab", 32) + "\napi_url: https://a.example.com\nrendezvous_url: https://r.example.com\n"
	if _, err := c.New([]byte(good), env); err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{
		"nothing":         "",
		"unknown key":     good + "shell: /bin/sh\n",
		"bad fingerprint": strings.Replace(good, "ab", "AB", 1),
		"plain http":      strings.Replace(good, "https://a", "http://a", 1),
	} {
		if _, err := c.New([]byte(doc), daemon.NewEnv(nil)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("checking a configuration touches the disk")
	}
}
