// Bench measures TucDesk beside its peers in one run and prints how they compare:
//
//	go run ./internal/bench [--only NAME] [--list] [--json]
//
// Each row is a target of the product: a ratio to OpenSSH, mosh, coturn or tmux
// from Debian, or a bound of its own. Both sides do the same work on the same
// machine, one after the other or at the same time, so the ratio says something
// where the figures alone do not. What a row needs and does not find it names, with
// the command that installs it.
//
// The programs are built from this module and run as people run them: processes,
// pseudo-terminals, files of keys. Rows on a bad network run in internal/netlab and
// need root. Where go's own benchmarks measure a part in one process, bench runs
// them with the go command and takes their figures.
//
// It is no test: it always ends with success, whatever it has measured.
package main
