package errands

import (
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Copied is what passed in a copy, as cp and the audit log's entries print it.
type Copied struct {
	Entries uint64       `json:"entries"`
	Bytes   uint64       `json:"bytes"`
	Whole   bool         `json:"whole"`
	Digest  string       `json:"digest"`
	Files   []CopiedFile `json:"files"` // the first
}

// A CopiedFile is one of them.
type CopiedFile struct {
	Name   string `json:"name"` // below the path that the copy names; empty: that itself
	Size   uint64 `json:"size"`
	Mode   string `json:"mode"` // octal
	SHA256 string `json:"sha256"`
}

// CopiedOf gives a report as it is printed.
func CopiedOf(r filecopy.Report) *Copied {
	c := &Copied{Entries: r.Entries, Bytes: r.Bytes, Whole: r.Whole, Digest: r.Digest.String(), Files: []CopiedFile{}}
	for _, f := range r.Files {
		c.Files = append(c.Files, CopiedFile{f.Name, f.Size, fmt.Sprintf("%04o", f.Mode), f.SHA256.String()})
	}
	return c
}

// Text is the first files, on a line.
func (c *Copied) Text() sanitize.Text {
	const most = 3
	var b strings.Builder
	for _, f := range c.Files[:min(len(c.Files), most)] {
		fmt.Fprintf(&b, "%s %d bytes sha256:%s; ", f.Name, f.Size, f.SHA256)
	}
	fmt.Fprintf(&b, "%d in all", c.Entries)
	return sanitize.Clean(strings.TrimSpace(b.String()))
}

// Ungated says of a kind of session what protects it less than a shell; empty: nothing.
func Ungated(kind string) string {
	if kind == "forward" || kind == "proxy" {
		return ungated
	}
	return ""
}
