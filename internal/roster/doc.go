// Package roster holds the one thing that every yes in TucDesk rests on: the
// signed, hash-chained statements that say who is in a team, which machines it
// has, which servers sign for it, and which policy holds. No server can sign a
// statement; a statement that widens power needs the signatures of k admins.
//
// A Roster is an immutable snapshot. Open reads a genesis, whose SHA-256 is the
// team's fingerprint; Apply gives the next snapshot or refuses. Names resolve
// to keys here and nowhere else. SPEC.md in this folder lists each statement,
// its fields and its rules.
//
// The package is pure: it must not import os, net or log/slog, and it has no
// clock: every question about validity takes the time it is asked for.
package roster
