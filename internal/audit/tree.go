package audit

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// A memoryTree holds the node hashes of a log, two for each entry.
type memoryTree struct {
	n      int64
	hashes []tlog.Hash
}

func (t *memoryTree) add(leaf tlog.Hash) error {
	more, err := tlog.StoredHashesForRecordHash(t.n, leaf, t)
	if err != nil {
		return fmt.Errorf("audit: entry %d: %w", t.n, err)
	}
	t.hashes = append(t.hashes, more...)
	t.n++
	return nil
}

// ReadHashes implements tlog.HashReader.
func (t *memoryTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("audit: the tree of %d entries has no hash %d", t.n, x)
		}
		all[i] = t.hashes[x]
	}
	return all, nil
}

// parallel gives f of each element, in order, computed on all processors.
func parallel[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	workers := min(runtime.GOMAXPROCS(0), len(in))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(in); i += workers {
				out[i] = f(in[i])
			}
		})
	}
	wg.Wait()
	return out
}
