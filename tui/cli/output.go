package cli

import (
	"io"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

func writeJSON(w io.Writer, v any) error { return output.JSON(w, v) }

// A table is an output.Table.
type table struct{ *output.Table }

func newTable(w io.Writer, head ...string) table { return table{output.NewTable(w, head...)} }
func (t table) row(cells ...sanitize.Text)       { t.Row(cells...) }
func (t table) flush() error                     { return t.Flush() }
