//go:build unix

package pane_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/local"
	"github.com/tucdesk/tucdesk/internal/skiptest"
	"github.com/tucdesk/tucdesk/tui/console/pane"
)

// patience is how long a test waits for what must come; it only ends one that
// has failed already.
const patience = 30 * time.Second

// A shell is a pane on a real shell of this machine.
type shell struct {
	*pane.Pane
	t     *testing.T
	wakes chan struct{}
	rows  int
}

func openShell(t *testing.T, argv ...string) *shell {
	t.Helper()
	b := local.New()
	term, err := b.Open(t.Context(), backend.OpenRequest{Target: local.TargetID, Kind: backend.KindExec, Argv: argv, TTY: true, Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, wakes: make(chan struct{}, 1), rows: 24}
	s.Pane = pane.New(term, 80, 24, func() {
		select {
		case s.wakes <- struct{}{}:
		default:
		}
	})
	t.Cleanup(func() { s.Close(); b.Close() })
	return s
}

func (s *shell) screen() string {
	scr := uv.NewScreenBuffer(100, s.rows)
	s.Draw(scr, scr.Bounds())
	return scr.String()
}

// see waits until the screen shows text.
func (s *shell) see(text string) {
	s.t.Helper()
	deadline := time.After(patience)
	for !strings.Contains(s.screen(), text) {
		select {
		case <-s.wakes:
		case <-deadline:
			s.t.Fatalf("the screen never showed %q:\n%s", text, s.screen())
		}
	}
}

func TestShell(t *testing.T) {
	s := openShell(t, "sh")
	s.Send([]byte("echo $((40+2))-ok\r"))
	s.see("42-ok")
	s.Pane.Resize(100, 30)
	s.rows = 30
	s.Send([]byte("stty size\r"))
	s.see("30 100")
	s.Send([]byte("printf 'za\\305'; printf '\\274\\303'; printf '\\263\\305\\202w\\n'\r"))
	s.see("zażółw")
	s.Send([]byte("sh -c 'echo sle''eping; exec sleep 1000'\r"))
	s.see("sleeping")
	s.Key(uv.Key{Code: 'c', Mod: uv.ModCtrl})
	s.Send([]byte("exit 5\r"))
	<-s.Done()
	if st := s.Status(); st.Exit.Code != 5 {
		t.Errorf("Status = %+v", st)
	}
}

func TestMiBPasteSurvives(t *testing.T) {
	dir := t.TempDir()
	s := openShell(t, "sh", "-c", "stty -echo; echo ready; cat > "+filepath.Join(dir, "got")+"; echo done")
	s.see("ready")
	var text strings.Builder
	for i := 0; text.Len() < 1<<20; i++ {
		fmt.Fprintf(&text, "%08d żółw and the rest of a line\n", i)
	}
	s.Paste(text.String())
	s.Send([]byte{4})
	s.see("done")
	got, err := os.ReadFile(filepath.Join(dir, "got"))
	if err != nil || string(got) != text.String() {
		t.Errorf("%d of %d bytes arrived as sent (%v)", len(got), text.Len(), err)
	}
}

func TestVim(t *testing.T) {
	if _, err := exec.LookPath("vim"); err != nil {
		skiptest.Missing(t, "vim is missing: apt-get install vim")
	}
	file := filepath.Join(t.TempDir(), "file")
	s := openShell(t, "vim", "-u", "NONE", "-N", "-n", file)
	s.see("file")
	s.Key(uv.Key{Code: 'i', Text: "i"})
	s.Send([]byte("hello from vim"))
	s.see("hello from vim")
	s.Resize(60, 10)
	s.Key(uv.Key{Code: uv.KeyEscape})
	// The program learns of its size by a signal, some time later.
	for deadline := time.Now().Add(patience); !strings.Contains(s.screen(), "lines=10"); {
		if time.Now().After(deadline) {
			t.Fatalf("the resize was never seen:\n%s", s.screen())
		}
		s.Send([]byte("\r:set lines?\r"))
		time.Sleep(50 * time.Millisecond)
	}
	s.Send([]byte("\r:wq\r"))
	<-s.Done()
	if got, err := os.ReadFile(file); err != nil || string(got) != "hello from vim\n" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if st := s.Status(); st.Resets != 0 {
		t.Errorf("the emulator broke %d times", st.Resets)
	}
}
