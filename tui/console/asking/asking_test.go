package asking

import (
	"strings"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

func TestLasts(t *testing.T) {
	for _, tc := range []struct {
		s    string
		most time.Duration
		want time.Duration
		err  string
	}{
		{"", time.Hour, 0, ""},
		{"  ", 0, 0, ""},
		{"30m", time.Hour, 30 * time.Minute, ""},
		{" 45 ", time.Hour, 45 * time.Minute, ""},
		{"1h30m", 0, 90 * time.Minute, ""},
		{"1h", time.Hour, time.Hour, ""},
		{"1h1m", time.Hour, 0, "1h00m at most"},
		{"61", time.Hour, 0, "1h00m at most"},
		{"99999999999", time.Hour, 0, "1h00m at most"},
		{"30s", time.Hour, 0, "write it as"},
		{"0", time.Hour, 0, "write it as"},
		{"-5", time.Hour, 0, "write it as"},
		{"-2h", 0, 0, "write it as"},
		{"soon", 0, 0, "write it as"},
	} {
		got, err := Lasts(tc.s, tc.most)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q of %v: %v, %v; want %v, %q", tc.s, tc.most, got, err, tc.want, tc.err)
		}
	}
}

func TestForm(t *testing.T) {
	req := backend.OpenRequest{Target: "db-1", Kind: backend.KindShell}
	f := New(req, backend.Verdict{Effect: backend.Hold, MaxSession: 2 * time.Hour}, func(st *canvas.Styles) []canvas.Para {
		return []canvas.Para{{Label: "Target", Text: sanitize.Literal("db-1")}}
	})
	press := func(keys ...string) (out dialog.Outcome) {
		t.Helper()
		for _, key := range keys {
			k, err := keymap.Press(key)
			if err != nil {
				t.Fatal(err)
			}
			out = f.Key(k, time.Time{})
		}
		return out
	}
	see := func(cols, rows int, want ...string) {
		t.Helper()
		buf := uv.NewScreenBuffer(cols, rows)
		f.Draw(canvas.New(buf, canvas.NewStyles(true)), uv.Rect(0, 1, cols, rows-2), time.Time{})
		for _, w := range want {
			if !strings.Contains(buf.String(), w) {
				t.Errorf("%dx%d lacks %q:\n%s", cols, rows, w, buf.String())
			}
		}
	}
	see(80, 24, "db-1", Why, HowLong, "empty: 2h00m", "enter: ask")
	see(40, 12, "db-1", Why, HowLong)
	see(1, 1)
	if out := press("tab", "9", "h", "enter"); out.Close || f.at != 0 {
		t.Errorf("without a reason: %+v, at %d", out, f.at)
	}
	see(80, 24, "a reason is needed")
	f.Paste("disk is\nfull ")
	if out := press("enter"); out.Close || f.at != 1 {
		t.Errorf("for too long: %+v, at %d", out, f.at)
	}
	see(80, 24, "policy lets it last 2h00m at most")
	press("backspace", "backspace", "3", "0", "m")
	want := req
	want.Reason, want.Lasts = "disk is full", 30*time.Minute
	out := press("enter")
	if got, ok := out.Do.(dialog.DoAsk); !ok || !out.Close || got.Req.Reason != want.Reason || got.Req.Lasts != want.Lasts || got.Req.Target != want.Target {
		t.Errorf("asked %+v", out)
	}
	if out := press("esc"); !out.Close || out.Do != nil {
		t.Errorf("esc gives %+v", out)
	}
}
