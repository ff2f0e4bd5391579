// Package output prints what commands answer: tables for people, JSON for scripts.
//
// Invariants: a table takes cleaned text only, has no colour and no boxes, and so
// reads the same in a pipe. JSON is one document, indented, or one value a line.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// JSON writes one indented document.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// JSONLine writes one value on one line.
func JSONLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// A Table prints rows of cleaned text in columns.
type Table struct{ w *tabwriter.Writer }

// NewTable begins a table with its head.
func NewTable(w io.Writer, head ...string) *Table {
	t := &Table{tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)}
	fmt.Fprintln(t.w, strings.Join(head, "\t"))
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...sanitize.Text) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		fmt.Fprint(t.w, c)
	}
	fmt.Fprintln(t.w)
}

// Flush prints the table.
func (t *Table) Flush() error { return t.w.Flush() }

// Until says how far away a time is, in one short word.
func Until(t, now time.Time) string {
	d := t.Sub(now).Round(time.Second)
	if d <= 0 {
		return "over"
	}
	return d.String()
}

// Tags gives tags as k=v, in order of their keys.
func Tags(tags map[string]string) string {
	kv := make([]string, 0, len(tags))
	for k, v := range tags {
		kv = append(kv, k+"="+v)
	}
	slices.Sort(kv)
	return strings.Join(kv, " ")
}

// ParseLength reads a length of time that may count days: "30d", "12h". At most ten years.
func ParseLength(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 || d > 10*366*24*time.Hour {
		return 0, fmt.Errorf("%s: write a time such as 30d or 12h", sanitize.Clean(text))
	}
	return d, nil
}

// Diff gives what changes between two documents, as text; "" if nothing does.
func Diff(oldName string, old []byte, newName string, neu []byte) string {
	return string(diff.Diff(oldName, old, newName, neu))
}

// Text writes text of a file, line by line, cleaned.
func Text(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintln(w, sanitize.Clean(strings.TrimSuffix(line, "\n")))
	}
}
