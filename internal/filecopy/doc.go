// Package filecopy carries files and directories over one stream of bytes. SPEC.md
// beside this file has the format.
//
// Both ends of a copy are here: [Send] reads from a folder, [Receive] writes into one.
// A [Tally] reads a stream on its way and says what passed.
//
// Invariants:
//   - nothing outside the folder that an end was given is read or written: no symbolic
//     link is followed, also when one appears while a copy is on;
//   - a file appears under its name whole, with the content whose digest was sent;
//   - a reader bounds what it takes, in entries, bytes, names and depth.
//
// Names come from the other side: whoever shows them passes them through
// internal/sanitize.
//
// It must not import net, internal/channel, agent, backend or tui.
package filecopy
