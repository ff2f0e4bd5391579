// Package crash keeps reports of a console that broke, for whoever looks into it.
//
// Invariants: a report holds names and places in the program, its version and numbers,
// and nothing that was typed, shown or asked for: no argument, no output, no name of a
// machine or person, no environment. It is a file that its owner alone can read, and
// the newest few are kept. Nothing is sent anywhere.
//
// It must not import a service or a backend.
package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/tui/console"
)

const (
	folder  = "crashes" // in a home
	prefix  = "crash-"
	maxKept = 5
)

// Write writes the report of a panic into a home and gives its file. Older reports than
// the newest five are removed.
func Write(home string, e *console.BrokeError, now time.Time) (string, error) {
	dir := filepath.Join(home, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("crash: no report: %w", err)
	}
	f, err := os.CreateTemp(dir, prefix+now.UTC().Format("20060102-150405.000000")+"-*.txt") // mode 0600
	if err != nil {
		return "", fmt.Errorf("crash: no report: %w", err)
	}
	_, err = f.WriteString(text(e, now))
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("crash: no report: %w", err)
	}
	if files := List(home); len(files) > maxKept {
		for _, old := range files[:len(files)-maxKept] {
			_ = os.Remove(old) // it is tried again with the next one
		}
	}
	return f.Name(), nil
}

// List gives the reports of a home, the oldest first.
func List(home string) []string {
	dir := filepath.Join(home, folder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(files)
	return files
}

func text(e *console.BrokeError, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The console of TucDesk broke. This report holds names and places in the program only.\n\n")
	fmt.Fprintf(&b, "version  %s\ntime     %s\nscreen   %dx%d, %d tabs\npanic    %s\n", daemon.Version(),
		now.UTC().Format(time.RFC3339), e.Cols, e.Rows, e.Tabs, e.Panic.Kind())
	b.WriteString("\nwhat was done last, the newest at the end:\n")
	for _, name := range e.Did {
		b.WriteString("  " + name + "\n")
	}
	b.WriteString("\nwhere it broke:\n")
	for _, call := range e.Panic.Stack {
		b.WriteString("  " + call + "\n")
	}
	return b.String()
}
