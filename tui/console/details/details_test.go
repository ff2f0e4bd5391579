package details

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// informed answers with whatever a network can send.
type informed struct {
	backend.Backend
	info backend.Info
	err  error
}

func (i informed) Inform(ctx context.Context, _ backend.OpenRequest) (backend.Info, error) {
	if ctx.Err() != nil {
		return backend.Info{}, ctx.Err()
	}
	return i.info, i.err
}

// bare knows nothing but to list and to open.
type bare struct{ backend.Backend }

func open(t *testing.T, b backend.Backend) (*View, func() string) {
	t.Helper()
	v := New(t.Context(), b, backend.OpenRequest{Target: "vault", Kind: backend.KindShell}, sanitize.Literal("vault"), func(st *canvas.Styles) []canvas.Para {
		return []canvas.Para{{Label: "Verdict", Text: sanitize.Literal("denied")}}
	})
	return v, func() string {
		buf := uv.NewScreenBuffer(80, 40)
		v.Draw(canvas.New(buf, canvas.NewStyles(true)), uv.Rect(0, 0, 80, 40), time.Time{})
		return buf.String()
	}
}

func see(t *testing.T, screen string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(screen, w) {
			t.Errorf("the dialog lacks %q:\n%s", w, screen)
		}
	}
}

// TestDetails: what is at hand stands at once, and the rest when it came.
func TestDetails(t *testing.T) {
	b := mem.Demo().Backend("alice")
	defer b.Close()
	v, screen := open(t, b)
	see(t, screen(), "denied", "being asked")
	msg := v.Begin()()
	other, _ := open(t, b)
	other.Receive(msg, time.Time{})
	if other.came {
		t.Error("took the answer to another dialog")
	}
	v.Receive(msg, time.Time{})
	see(t, screen(), "denied", "Instead", "with role:keeper: hold by vault-for-keepers, line 9", "os: linux/amd64", "none lately")
}

// TestHostile: nothing that is answered gets further than it may, in number, size or kind.
func TestHostile(t *testing.T) {
	evil := strings.Repeat("x", 10_000) + "\x1b]52;c;eA==\x07"
	info := backend.Info{Posture: map[string]string{"os\x1b[2J": "\u202eevil"}}
	for range 1000 {
		info.Ways = append(info.Ways, "\x1b[31mway")
		info.Visits = append(info.Visits, backend.Visit{By: evil, Kind: "\x07", State: "\u009b"})
	}
	v, screen := open(t, informed{info: info, err: errors.New("insight: 10.0.0.1\x1b[2J does not answer")})
	v.Receive(v.Begin()(), time.Time{})
	got := screen()
	see(t, got, "⟨ESC⟩[31mway")
	if strings.ContainsAny(got, "\x1b\x07\u202e\u009b") {
		t.Errorf("not clean: %q", got)
	}
	if n := len(Paras(canvas.NewStyles(true), info)); n > backend.MaxWays+backend.MaxVisits+1 {
		t.Errorf("%d paragraphs", n)
	}
}

// TestWithout: a backend that knows no more is asked nothing, and nothing is claimed; a
// dialog that was closed asks no more.
func TestWithout(t *testing.T) {
	v, screen := open(t, bare{mem.Demo().Backend("alice")})
	if v.Begin() != nil || strings.Contains(screen(), "Session") {
		t.Errorf("claims:\n%s", screen())
	}
	v, screen = open(t, informed{info: backend.Info{Ways: []string{"on web-1: allow"}}})
	ask := v.Begin()
	v.End()
	v.Receive(ask(), time.Time{})
	see(t, screen(), "Not known", "canceled")
}
