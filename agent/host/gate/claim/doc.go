// Package claim reads what a sleeping caller of execve wants to start: which file,
// with which arguments, variables and folder; and compares that with what the kernel
// has loaded.
//
// A claim is read from the caller's memory, which others may write while it is read
// and afterwards. So it is what was said, not what will be: Differs tells whether it
// came true, before the new program's first instruction.
//
// Invariants:
//   - names are resolved as the kernel will: in the caller's root, folder and mount
//     namespace, with its own /proc/self, through each #! line;
//   - what can't be read or identified is an error, never a part of a claim; sizes
//     are bounded before they are read;
//   - nothing is opened but regular files, so that no claim makes the agent wait for
//     a pipe or wake a device;
//   - the caller's number is its own throughout: whoever reads a claim asks the
//     listener afterwards whether the caller still waits.
//
// The package decides nothing and changes nothing. Of this module it must import
// only filter.
package claim
