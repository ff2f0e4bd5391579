// Package content makes sure that what was approved is what runs: not only the words of
// a command, but the bytes of the files that its words name.
//
// Look says what a command would run, before anybody is asked: where its files are, and
// the SHA-256 of each. Open opens the files of a command that binds them, once, compares
// them, and gives them to the program as open files. Between the two, and between the
// comparison and the start, whoever may write them can do so; it is found.
//
// A program of the machine is run by the descriptor that was read, under a lease by
// which the kernel holds back writers until it runs; from then on the kernel itself
// refuses to write to it. Scripts, and the files of other words, are read by their
// program while it runs, so it gets a sealed copy in memory, which nobody can change. Their
// words become names of descriptors (/proc/self/fd/4), and so does a script's $0.
//
// What is not covered, and is said so wherever this is shown: the libraries that a
// program loads, the interpreter that a script names, and what either reads besides.
//
// Invariants:
//   - each file is opened once, with the rights of who runs the command;
//   - what is not the same is not run, and no error names a file: they go into entries;
//   - sizes and numbers are bounded.
//
// It needs Linux; elsewhere it refuses. It decides nothing about policy, and must not
// import it.
package content
