package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

func writeJSON(w io.Writer, v any) error     { return output.JSON(w, v) }
func writeJSONLine(w io.Writer, v any) error { return output.JSONLine(w, v) }

// A table is an output.Table.
type table struct{ *output.Table }

func newTable(w io.Writer, head ...string) table { return table{output.NewTable(w, head...)} }
func (t table) row(cells ...sanitize.Text)       { t.Row(cells...) }
func (t table) flush() error                     { return t.Flush() }

// tagList gives tags as k=v in order of key.
func tagList(tags map[string]string) string {
	kv := make([]string, 0, len(tags))
	for k, v := range tags {
		kv = append(kv, k+"="+v)
	}
	slices.Sort(kv)
	return strings.Join(kv, " ")
}
