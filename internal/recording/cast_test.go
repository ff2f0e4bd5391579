package recording

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

// readAll reads a v3 text.
func readAll(text []byte) (Header, []Event, error) {
	r, err := NewReader(bytes.NewReader(text))
	if err != nil {
		return Header{}, nil, err
	}
	var all []Event
	for {
		e, err := r.Next()
		if err == io.EOF {
			return r.Header, all, nil
		}
		if err != nil {
			return r.Header, all, err
		}
		all = append(all, e)
	}
}

func writeAll(t testing.TB, h Header, events []Event, v2 bool) []byte {
	t.Helper()
	var b bytes.Buffer
	x, err := NewExporter(&b, h, v2)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := x.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestFileAsPublished(t *testing.T) {
	// Members and comments of the published format that we do not write.
	const text = `{"version": 3, "term": {"cols": 80, "rows": 24, "type": "xterm-256color", "theme": {"fg": "#fff"}}, "timestamp": 1504467315, "idle_time_limit": 2, "command": "/bin/sh", "title": "Demo", "env": {"SHELL": "/bin/zsh"}, "tags": ["a"]}
# event stream follows the header
[0.248848, "o", "\u001b[1;31mHello \u001b[32mWorld!\u001b[0m\n"]

[1.001376, "o", "That was ok\rThis is better."]
[0.5, "m", ""]
[0.143733, "r", "80x30"]
[1, "z", "a code of tomorrow"]
[1.050000, "x", "0"]
`
	h, events, err := readAll([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Header{Cols: 80, Rows: 24, Term: "xterm-256color", Timestamp: 1504467315, Command: "/bin/sh", Title: "Demo"}); h != want {
		t.Errorf("header %+v, want %+v", h, want)
	}
	want := []Event{
		{248848 * time.Microsecond, Output, "\x1b[1;31mHello \x1b[32mWorld!\x1b[0m\n"},
		{1250224 * time.Microsecond, Output, "That was ok\rThis is better."},
		{1750224 * time.Microsecond, Marker, ""},
		{1893957 * time.Microsecond, Resize, "80x30"},
		{2893957 * time.Microsecond, 'z', "a code of tomorrow"},
		{3943957 * time.Microsecond, Exit, "0"},
	}
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for i, e := range events {
		if e != want[i] {
			t.Errorf("event %d: %+v, want %+v", i, e, want[i])
		}
	}
	if cols, rows, ok := events[3].Size(); !ok || cols != 80 || rows != 30 {
		t.Errorf("size %d %d %v", cols, rows, ok)
	}
}

func TestReaderRefuses(t *testing.T) {
	const head = `{"version":3,"term":{"cols":80,"rows":24}}` + "\n"
	for name, text := range map[string]string{
		"nothing":          "",
		"only comments":    "# a\n\n",
		"no JSON":          "hello\n",
		"version 2":        `{"version":2,"width":80,"height":24}` + "\n",
		"no size":          `{"version":3,"term":{}}` + "\n",
		"size out of all":  `{"version":3,"term":{"cols":70000,"rows":24}}` + "\n",
		"no array":         head + `{"a":1}` + "\n",
		"two fields":       head + `[1, "o"]` + "\n",
		"four fields":      head + `[1, "o", "x", 1]` + "\n",
		"negative":         head + `[-1, "o", "x"]` + "\n",
		"null interval":    head + `[null, "o", "x"]` + "\n",
		"endless interval": head + `[1e300, "o", "x"]` + "\n",
		"long code":        head + `[1, "oo", "x"]` + "\n",
		"no code":          head + `[1, "", "x"]` + "\n",
		"code not ASCII":   head + `[1, "é", "x"]` + "\n",
		"data a number":    head + `[1, "o", 5]` + "\n",
		"null data":        head + `[1, "o", null]` + "\n",
		"cut off":          head + `[1, "o", "x`,
		"longer than ever": head + strings.Repeat(`[31000000, "o", "x"]`+"\n", 2),
		"long line":        head + `[1, "o", "` + strings.Repeat("x", MaxLine) + `"]` + "\n",
	} {
		if _, _, err := readAll([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestExportV2(t *testing.T) {
	h := Header{Cols: 100, Rows: 30, Term: "xterm", Timestamp: 1700000000, Command: "uname -a", Title: "a"}
	got := writeAll(t, h, []Event{
		{time.Second, Output, "a\x1b]0;t\x07\u009b\u202e\n"}, {2500 * time.Millisecond, Resize, "90x20"}, {3 * time.Second, Exit, "0"},
	}, true)
	const want = `{"version":2,"width":100,"height":30,"timestamp":1700000000,"command":"uname -a","title":"a","env":{"TERM":"xterm"}}
[1, "o", "a\u001b]0;t\u0007\u009b\u202e\n"]
[2.5, "r", "90x20"]
`
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// What is written is read back as it was, to the millisecond, and holds no
// character that a terminal acts on.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := Header{
			Cols: rapid.IntRange(1, maxSide).Draw(r, "cols"), Rows: rapid.IntRange(1, maxSide).Draw(r, "rows"),
			Term: rapid.String().Draw(r, "term"), Timestamp: rapid.Int64Min(0).Draw(r, "timestamp"),
			Command: rapid.String().Draw(r, "command"), Title: rapid.String().Draw(r, "title"),
		}
		var events []Event
		at := time.Duration(0)
		for range rapid.IntRange(0, 20).Draw(r, "events") {
			at += time.Duration(rapid.IntRange(0, 100_000).Draw(r, "ms")) * time.Millisecond
			code := rapid.SampledFrom([]Code{Output, Input, Marker, Resize, Exit}).Draw(r, "code")
			events = append(events, Event{at, code, rapid.String().Draw(r, "data")})
		}
		text := writeAll(t, h, events, false)
		gotH, got, err := readAll(text)
		if err != nil || gotH != h || len(got) != len(events) {
			r.Fatalf("%v, header %+v, %d events\n%s", err, gotH, len(got), text)
		}
		for i := range got {
			if got[i] != events[i] {
				r.Fatalf("event %d: %+v, want %+v", i, got[i], events[i])
			}
		}
		if i := strings.IndexFunc(string(text), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 {
			r.Fatalf("the file holds a character that is not printable at %d: %q", i, text)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"version":3,"term":{"cols":80,"rows":24}}` + "\n" + `[0.1, "o", "a"]` + "\n# c\n" + `[2, "r", "1x1"]`))
	f.Add([]byte(`{"version":3,"term":{"cols":1,"rows":1},"title":"\ud800"}` + "\n" + `[1e-7, "x", "\udc00"]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, events, err := readAll(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error that says nothing: %v", err)
			}
			return
		}
		for _, e := range events {
			e.Size()
		}
		// What was read, written and read again is the same, to the millisecond.
		again := writeAll(t, h, events, false)
		gotH, got, err := readAll(again)
		if err != nil || gotH != h || len(got) != len(events) {
			t.Fatalf("%v\n%q\n%q", err, text, again)
		}
		for i := range got {
			if got[i].Time != events[i].Time.Truncate(time.Millisecond) || got[i].Code != events[i].Code || got[i].Data != events[i].Data {
				t.Fatalf("event %d: %+v, want %+v", i, got[i], events[i])
			}
		}
	})
}
