package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// samples has an event of each kind.
func samples() []Event {
	return []Event{
		{Stamp: token.NewID(), Kind: EventReset},
		{Stamp: token.NewID(), Kind: EventRoster, Seq: 12},
		{Stamp: token.NewID(), Kind: EventApproval, ID: token.NewID(), State: Pending},
		{Stamp: token.NewID(), Kind: EventSession, ID: token.NewID(), State: "granted"},
		{Stamp: token.NewID(), Kind: EventAgent, Kid: key.Kid{1}, State: Online},
		{Stamp: token.NewID(), Kind: EventAgent},
	}
}

// readAll reads events to the end of a stream.
func readAll(r io.Reader) (list []Event, err error) {
	for events := NewEventReader(r); ; {
		e, err := events.Next()
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
}

func TestEventsThereAndBack(t *testing.T) {
	want := samples()
	var b []byte
	for _, e := range want {
		b = AppendEvent(b, e)
	}
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(b),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(b)),
		"with CRLF":    bytes.NewReader(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))),
		"with other kinds and comments": strings.NewReader(": hello\n\nid: " + token.NewID().String() + "\n\nretry: 5\n\n" +
			"id: " + token.NewID().String() + "\nevent: weather\ndata: {\"rain\": true}\n\n" + string(b) + ": alive\n\n"),
	} {
		if got, err := readAll(r); err != io.EOF || !slices.Equal(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
	}
	for cut := range len(b) {
		if got, err := readAll(bytes.NewReader(b[:cut])); len(got) == len(want) || err == nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestMalformedEvents(t *testing.T) {
	id, kid := token.NewID().String(), key.Kid{1}.String()
	head := func(kind string) string { return "id: " + id + "\nevent: " + kind + "\ndata: " }
	for name, s := range map[string]string{
		"no stamp":           "event: reset\ndata: {}\n\n",
		"stamp of zero":      "id: " + token.ID{}.String() + "\nevent: reset\ndata: {}\n\n",
		"a stamp that is no": "id: 1\nevent: reset\ndata: {}\n\n",
		"no data":            "id: " + id + "\nevent: reset\n\n",
		"reset of something": head("reset") + `{"seq":1}` + "\n\n",
		"roster without seq": head("roster") + "{}\n\n",
		"approval, no id":    head("approval") + `{"state":"pending"}` + "\n\n",
		"approval, no state": head("approval") + `{"id":"` + id + `"}` + "\n\n",
		"agent, no state":    head("agent") + `{"kid":"` + kid + `"}` + "\n\n",
		"a state to paint":   head("agent") + `{"kid":"` + kid + `","state":"\u001b[2J"}` + "\n\n",
		"a long state":       head("agent") + `{"kid":"` + kid + `","state":"aaaaaaaaaaaaaaaaa"}` + "\n\n",
		"a field too many":   head("reset") + `{"command":"rm"}` + "\n\n",
		"a field twice":      head("roster") + `{"seq":1,"seq":2}` + "\n\n",
		"a long line":        ": " + strings.Repeat("x", maxEventLine) + "\n\n",
		"much data":          head("reset") + strings.Repeat("\ndata: "+strings.Repeat(" ", maxEventLine/2), 3) + "{}\n\n",
	} {
		if got, err := readAll(strings.NewReader(s)); !errors.Is(err, ErrEvent) || len(got) > 0 {
			t.Errorf("%s: %+v, %v; want ErrEvent", name, got, err)
		}
	}
}

func FuzzEvents(f *testing.F) {
	for _, e := range samples() {
		f.Add(AppendEvent([]byte(": hello\n\n"), e))
	}
	f.Add([]byte("data\n\nid\nevent:agent\r\ndata:{}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readAll(bytes.NewReader(b))
		if err == nil {
			t.Fatal("a stream without an end")
		}
		var again []byte
		for _, e := range got {
			again = AppendEvent(again, e)
		}
		if back, err := readAll(bytes.NewReader(again)); err != io.EOF || !slices.Equal(back, got) {
			t.Errorf("%v\ngot  %+v\nback %+v", err, got, back)
		}
	})
}

// The client comes back with the id that it saw last, whatever ended a stream,
// and gives up where it is refused for good.
func TestClientEventsComeBack(t *testing.T) {
	sent := samples()
	var mu sync.Mutex
	var after []string
	_, c := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		after = append(after, r.Header.Get(HeaderLastEvent))
		switch n := len(after); n {
		case 1, 2:
			w.Header().Set("Content-Type", ContentTypeEvents)
			w.Write(AppendEvent(nil, sent[n-1]))
		case 3:
			refuse(w, KindUnavailable)
		default:
			refuse(w, KindNotFound)
		}
	})
	c.pause = time.Millisecond
	var got []Event
	err := c.Events(t.Context(), func(e Event) { got = append(got, e) })
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("ended with %v", err)
	}
	if !slices.Equal(got, sent[:2]) {
		t.Errorf("got %+v, want %+v", got, sent[:2])
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"", sent[0].Stamp.String(), sent[1].Stamp.String(), sent[1].Stamp.String()}; !slices.Equal(after, want) {
		t.Errorf("came back after %q, want %q", after, want)
	}
}

// What is no stream of events is none: a proxy's page, and a server that has no
// events.
func TestClientEventsOfAnother(t *testing.T) {
	_, c := newFake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if err := c.Events(t.Context(), func(e Event) { t.Errorf("told of %+v", e) }); !errors.Is(err, ErrNotFound) {
		t.Errorf("ended with %v", err)
	}
}

// While there is no server the client waits, and ends with its context.
func TestClientEventsWithoutServer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c, err := NewClient(Options{URL: gone.URL, TeamID: "acme", Identity: identity(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Events(ctx, func(e Event) { t.Errorf("told of %+v", e) }) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
