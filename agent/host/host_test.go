//go:build unix

package host

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/channel"
)

func TestExec(t *testing.T) {
	w := newWorld(t)
	w.start()
	e := w.try(attempt{argv: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}})
	if e.stdout != "out\n" || e.stderr != "err\n" || e.exit.Code != 7 {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
	if e.answer.Rule != "sre-staging" || e.answer.Gate != "none" || e.answer.Recording != "on" {
		t.Errorf("%+v", e.answer)
	}
}

func TestShell(t *testing.T) {
	w := newWorld(t)
	w.start()
	e := w.try(attempt{
		kind: "shell", tty: &channel.TTY{Cols: 80, Rows: 24, Term: "xterm"},
		drive: func(_ *channel.Mux, ch *channel.Channel) {
			var seen bytes.Buffer
			until := func(want string) {
				t.Helper()
				for !strings.Contains(seen.String(), want) {
					f, err := ch.ReadFrame()
					if err != nil {
						t.Fatalf("%v before %q: %q", err, want, seen.String())
					}
					seen.Write(f.Payload)
				}
			}
			ch.Write([]byte("stty size; echo te''rm=$TERM\n"))
			until("24 80")
			until("term=xterm")
			if err := ch.Resize(132, 43); err != nil {
				t.Fatal(err)
			}
			ch.Write([]byte("stty size\n"))
			until("43 132")
			ch.Write([]byte("exit 5\n"))
			for {
				f, err := ch.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if f.Type == channel.FrameExit {
					if x, _ := f.Exit(); x.Code != 5 {
						t.Errorf("%+v", x)
					}
					return
				}
			}
		},
	})
	if !e.answer.Allowed() {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
}
