package sessions

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// linked is a terminal whose connection a test decides about.
type linked struct {
	backend.Terminal
	link atomic.Pointer[backend.Link]
}

func (l *linked) Link() backend.Link { return *l.link.Load() }

func TestTellLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		term := &linked{}
		term.link.Store(&backend.Link{})
		stop := TellLink(func(line sanitize.Text) { out.WriteString(line.String() + "\n") }, term, "web-1\x1b[2J")
		time.Sleep(time.Minute)
		since := time.Now()
		term.link.Store(&backend.Link{Lost: true, Since: since, Until: since.Add(10 * time.Minute)})
		time.Sleep(30*time.Second + linkEvery/2) // between two looks
		term.link.Store(&backend.Link{})
		time.Sleep(time.Second)
		stop()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "is lost, since "+since.Format(time.TimeOnly)) ||
			!strings.Contains(lines[0], "until "+since.Add(10*time.Minute).Format(time.TimeOnly)) || !strings.Contains(lines[1], "again, after 31s") {
			t.Errorf("said:\n%s", out.String())
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Error("a name moves the cursor")
		}
	})
}
