package errands

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/filecopy"
)

// Copied is what passed in a copy, as cp prints it.
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
