// Package vt is a terminal emulator: bytes of a program go in, rows of cells
// come out.
//
// It follows xterm where terminals differ: a wrap waits at the last column, an
// erase takes the background, a scroll of the whole width from the first row
// goes to the scrollback. But an erase takes no letter that waits to wrap, and
// widths are those of grapheme clusters. The numbers of sequences are those of
// ECMA-48, DEC STD 070 and xterm's ctlseqs.
//
// Invariants:
//
//   - Write never fails, blocks or panics, whatever the bytes and the size, and
//     the outcome does not depend on how the bytes were cut.
//   - A cell's text is harmless: one cluster of at most maxCluster bytes, with
//     no control, no bidi mark and no tag, and of the invisible runes none but
//     joiners and variation selectors.
//   - All is bounded: cells, scrollback (lines and bytes), styles, clusters,
//     links, strings inside sequences, replies, parameters, repetitions.
//   - The program can ask for nothing. Clipboard, files, colours of the palette
//     and windows end here. It gets answers about the cursor and the modes, and
//     they wait in a bounded buffer until Replies is called.
//
// The package starts no goroutines and takes no locks: a Terminal is for one
// goroutine at a time. It must not import os, time or anything of this module
// but sanitize and the packages below this one.
package vt
