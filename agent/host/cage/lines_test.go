//go:build unix

package cage

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines keeps what a logger writes.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until something is there.
func (l *lines) await() {
	for range 200 {
		if l.String() != "" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// What a network half logs is bounded, on one line each, and can't forge another.
func TestListen(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var said lines
	done := make(chan struct{})
	go func() {
		defer close(done)
		Listen(r, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelInfo})), "network half")
	}()
	NewLogger(w).Warn("not reachable", "error", "no route")
	NewLogger(w).Debug("not worth a line")
	w.WriteString("panic: \x1b[2J\u202eevil level=ERROR\n")
	w.WriteString("level=ERROR " + strings.Repeat("x", 3*maxLine) + "\n")
	for range 10 * linesAtOnce {
		w.WriteString("again and again\n")
	}
	w.Close()
	<-done
	got := said.String()
	if !strings.Contains(got, "level=WARN msg=\"network half\" says=\"msg=\\\"not reachable\\\" error=\\\"no route\\\"\"") {
		t.Errorf("the warning is missing in\n%.600s", got)
	}
	if strings.ContainsAny(got, "\x1b\u202e") || strings.Contains(got, "not worth") {
		t.Errorf("%.600q", got)
	}
	if n := strings.Count(got, "\n"); n > linesAtOnce+linesPerSecond*5 {
		t.Errorf("%d lines", n)
	}
	for line := range strings.Lines(got) {
		if len(line) > 2*maxLine {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}
