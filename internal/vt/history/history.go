// Package history keeps the lines that left a terminal's screen, packed: about
// a byte for each column of text.
//
// Invariants: lines have numbers that count from the first there ever was and
// that never change but by Reflow. The oldest are dropped above a limit of
// lines and of bytes. A style is bytes of the caller's; no bytes are the plain
// one, which every line begins with.
//
// The package must not import os, time or anything of this module. A History is
// for one goroutine at a time.
package history

import (
	"slices"
	"sort"
)

const (
	// blockSize and blockLines are when a new block is begun.
	blockSize  = 32 << 10
	blockLines = 1024
	// Budget times the limit of lines is the limit of bytes.
	Budget = 512
	// minimum is a limit of bytes that is granted to any history.
	minimum = 2 * blockSize
)

// A History is a queue of lines. The zero value keeps none; see SetLimit.
type History struct {
	limit   int // lines
	blocks  []block
	first   int // the first line of blocks[0] that is kept
	count   int // lines that are kept
	dropped int // lines that are not, of those before
	size    int // bytes of all blocks
	spare   block
}

type block struct {
	base  int // which line its first is, counted from blocks[0]'s first
	data  []byte
	lines []packed
}

// A packed line is its place in a block: it ends where the next begins.
type packed struct {
	start   uint32
	columns uint16
	wrapped bool
}

// SetLimit bounds the lines that are kept, and drops those above.
func (h *History) SetLimit(lines int) {
	h.limit = max(0, lines)
	h.trim()
}

// Limit returns the bound of lines.
func (h *History) Limit() int { return h.limit }

// Len returns how many lines are kept.
func (h *History) Len() int { return h.count }

// First returns the number of the oldest line that is kept, or End.
func (h *History) First() int { return h.dropped }

// End returns the number that the next line will have.
func (h *History) End() int { return h.dropped + h.count }

// Clear drops all lines.
func (h *History) Clear() { *h = History{limit: h.limit, dropped: h.End()} }

// Add puts a line at the end: data is what the Append functions made, and takes
// so many columns (at most 65,535). It goes on in the next one if it wrapped.
func (h *History) Add(data []byte, columns int, wrapped bool) {
	b := h.block()
	b.lines = append(b.lines, packed{uint32(len(b.data)), uint16(columns), wrapped})
	b.data = append(b.data, data...)
	h.size += len(data)
	h.count++
	h.trim()
}

// block returns the block for one more line.
func (h *History) block() *block {
	n := len(h.blocks)
	if n == 0 {
		h.blocks = append(h.blocks, block{})
		return &h.blocks[0]
	}
	last := &h.blocks[n-1]
	if len(last.lines) < blockLines && len(last.data) < blockSize {
		return last
	}
	if cap(last.data)-len(last.data) > len(last.data)/8 {
		last.data = slices.Clone(last.data)
	}
	next := block{base: last.base + len(last.lines), data: h.spare.data[:0], lines: h.spare.lines[:0]}
	h.spare = block{}
	if next.data == nil {
		next.data = make([]byte, 0, blockSize+blockSize/16)
	}
	h.blocks = append(h.blocks, next)
	return &h.blocks[n]
}

// trim drops the oldest lines above the limits.
func (h *History) trim() {
	for h.count > h.limit || h.size > max(minimum, h.limit*Budget) && len(h.blocks) > 1 {
		gone := len(h.blocks[0].lines)
		n := gone - h.first // by bytes, a block at once
		if h.count > h.limit {
			n = min(n, h.count-h.limit)
		}
		h.first += n
		h.count -= n
		h.dropped += n
		if h.first < gone {
			continue
		}
		h.first = 0
		h.size -= len(h.blocks[0].data)
		h.spare = h.blocks[0]
		h.blocks = slices.Delete(h.blocks, 0, 1)
		for i := range h.blocks {
			h.blocks[i].base -= gone
		}
	}
}

// Truncate drops the lines from number n on.
func (h *History) Truncate(n int) {
	for h.count > 0 && h.End() > n {
		last := len(h.blocks) - 1
		b := &h.blocks[last]
		end := len(b.lines) - 1
		start := int(b.lines[end].start)
		h.size -= len(b.data) - start
		h.count--
		b.data, b.lines = b.data[:start], b.lines[:end]
		if end == 0 {
			h.blocks = h.blocks[:last]
		}
	}
	if h.count == 0 {
		h.blocks, h.first, h.size = nil, 0, 0
	}
}

// at returns line n, which must be kept, and its bytes.
func (h *History) at(n int) (*packed, []byte) {
	i := n - h.dropped + h.first
	k := sort.Search(len(h.blocks), func(k int) bool { return h.blocks[k].base > i }) - 1
	b := &h.blocks[k]
	i -= b.base
	end := len(b.data)
	if i+1 < len(b.lines) {
		end = int(b.lines[i+1].start)
	}
	return &b.lines[i], b.data[b.lines[i].start:end]
}

// EndWrap says that the newest line does not go on.
func (h *History) EndWrap() {
	if h.count > 0 {
		l, _ := h.at(h.End() - 1)
		l.wrapped = false
	}
}
