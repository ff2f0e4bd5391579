package onlookers

import (
	"slices"
	"strings"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

var (
	bob   = backend.Onlooker{N: 1, Who: "bob@example.com"}
	carol = backend.Onlooker{N: 2, Who: "carol@example.com", Types: true}
)

func TestChanges(t *testing.T) {
	var got []string
	for _, c := range Changes([]backend.Onlooker{bob}, []backend.Onlooker{carol}) {
		got = append(got, c.Words("this shell"))
	}
	if want := []string{"carol@example.com has joined this shell, and types", "bob@example.com does not watch this shell any more"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := Changes([]backend.Onlooker{bob}, []backend.Onlooker{bob}); len(got) > 0 {
		t.Errorf("nothing has changed: %v", got)
	}
}

// watched is a terminal that others look at.
type watched struct {
	backend.Terminal
	watchers chan []backend.Onlooker
	gone     []uint64
}

func (w *watched) Watchers() <-chan []backend.Onlooker { return w.watchers }
func (w *watched) Dismiss(n uint64)                    { w.gone = append(w.gone, n) }

func text(spans []canvas.Span) (s string) {
	for _, span := range spans {
		s += span.Text.String()
	}
	return s
}

// Who looks on is told once, stands in the status and in the details, and can be ended;
// a name moves no cursor.
func TestList(t *testing.T) {
	term := &watched{watchers: make(chan []backend.Onlooker)}
	changed := make(chan struct{}, 10)
	l := Follow(term, func() { changed <- struct{}{} })
	what := sanitize.Literal("web-1")
	hostile := backend.Onlooker{N: 3, Who: "\x1b[2Jmallory\u202e@x"}
	for _, c := range []struct {
		now          []backend.Onlooker
		status, news string
	}{
		{nil, "", ""},
		{[]backend.Onlooker{bob}, "WATCHED by bob · ", "bob@example.com watches web-1"},
		{[]backend.Onlooker{bob, carol}, "TYPED IN BY carol, WATCHED by bob · ", "carol@example.com has joined web-1, and types"},
		{[]backend.Onlooker{carol}, "TYPED IN BY carol · ", "bob@example.com does not watch web-1 any more"},
	} {
		term.watchers <- c.now
		<-changed
		var news []string
		for _, n := range l.News(what) {
			news = append(news, n.String())
		}
		if got := text(l.Status(uv.Style{})); got != c.status || strings.Join(news, "; ") != c.news {
			t.Errorf("%v: status %q, news %q", c.now, got, news)
		}
		if len(l.News(what)) > 0 {
			t.Error("it was told twice")
		}
	}
	entries := l.Entries(what)
	if len(entries) != 1 {
		t.Fatalf("%d entries", len(entries))
	}
	entries[0].Do.(Dismissal).Do()
	if !slices.Equal(term.gone, []uint64{2}) {
		t.Errorf("gone: %v", term.gone)
	}
	term.watchers <- []backend.Onlooker{hostile}
	<-changed
	said := text(l.Status(uv.Style{}))
	for _, n := range l.News(what) {
		said += n.String()
	}
	for _, p := range l.Details(canvas.NewStyles(true)) {
		said += p.Text.String()
	}
	if strings.ContainsAny(said, "\x1b\u202e") || !strings.Contains(said, "mallory") {
		t.Errorf("said %q", said)
	}
	close(term.watchers)
	for end := time.Now().Add(30 * time.Second); len(l.Now()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("somebody watches a terminal that has ended")
		}
	}
}

// A terminal that nobody can watch says nothing.
func TestNobody(t *testing.T) {
	l := Follow(&watched{}, nil)
	if l != nil || l.Status(uv.Style{}) != nil || l.News(sanitize.Text{}) != nil || l.Entries(sanitize.Text{}) != nil || l.Details(canvas.NewStyles(true)) != nil {
		t.Error("somebody watches what nobody can")
	}
}
