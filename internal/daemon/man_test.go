package daemon

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestManPage(t *testing.T) {
	keys := &cobra.Command{Use: "keys", Short: "Keys"}
	keys.AddCommand(&cobra.Command{Use: "init DIR", Short: "Make keys", Run: func(*cobra.Command, []string) {}})
	c := Command{Name: "tucdesk-testd", Doc: "TucDesk's test.", Config: defaults(), Commands: []*cobra.Command{keys}}
	cfg, err := newConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	root, err := newRoot(c, nil, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	page := manPage(c, cfg, "TUCDESK_TESTD_", root, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	if want := `.TH TUCDESK-TESTD 8 "2026-01-02" "tucdesk-testd" "TucDesk"`; !strings.HasPrefix(page, want+"\n") {
		t.Errorf("begins %.80q, want %q", page, want)
	}
	for _, f := range cfg.all() {
		name := `\fB` + strings.Join(f.path, "\\&.") + ", " + f.env("TUCDESK_TESTD_") + ", --" + f.flag() + `\fP`
		if !strings.Contains(page, name) {
			t.Errorf("no %s", name)
		}
	}
	for _, want := range []string{`\fBkeys init DIR\fP`, `\fBversion`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(page, `\fBman`) {
		t.Error("a hidden command shows")
	}
}
