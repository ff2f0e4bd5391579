// Package blob keeps objects that are already sealed: the segments of
// recordings. What it keeps it can't read, and whoever reads an object checks it
// against a signed manifest, so a store is trusted with nothing but to be there.
//
// Invariants: an object is there whole or not at all; Put is durable when it
// returns nil; names are checked before they reach a file system or a server.
//
// fs keeps objects in a folder, s3 in a bucket; both pass blobtest. The package
// must not import a service, and an agent must not import it.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

var (
	// ErrNotFound means that there is no object of that name.
	ErrNotFound = errors.New("blob: not found")
	// ErrName means a name that no object may have.
	ErrName = errors.New("blob: not a name of an object")
	// ErrSize means an object that is not as long as was said.
	ErrSize = errors.New("blob: wrong size")
)

// A Store keeps objects by name. Its methods are safe for concurrent use.
type Store interface {
	// Put keeps size bytes of r under name, over an existing object.
	Put(ctx context.Context, name string, r io.Reader, size int64) error
	// Get opens an object and tells its size. The caller closes it.
	Get(ctx context.Context, name string) (io.ReadCloser, int64, error)
	// Stat tells an object's size.
	Stat(ctx context.Context, name string) (int64, error)
}

// A Presigner is a Store to which others can write one object by themselves, for
// a time, with a URL that it signs.
type Presigner interface {
	PresignPut(ctx context.Context, name string, expires time.Duration) (url string, err error)
}

// maxName bounds a name, in bytes.
const maxName = 512

// CheckName wants parts of a-z, 0-9, '-', '_' and '.', the first no dot, with
// slashes between.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w: longer than %d bytes", ErrName, maxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.ContainsFunc(part, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
		}) {
			return fmt.Errorf("%w: %.64q", ErrName, name)
		}
	}
	return nil
}
