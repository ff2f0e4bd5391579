// Package words gives keys names that people can read to each other: six words
// of a list of 2048, 66 bits, of a hash that is slow to compute.
//
// An attacker who wants the same words for keys of its own must try about 2^66
// keys, and each try takes scrypt's 32 MiB and some hundredths of a second. So
// six words are enough where two people compare them once, and they are for
// nothing else: what a program can compare, it compares whole.
//
// english.txt is the English word list of BIP-0039 (MIT License, by M. Palatinus,
// P. Rusnak, A. Voisine and S. Bowe). No two of its words share their first four
// letters, so these are enough when somebody types.
//
// The package is pure: it must not import os, net or log/slog.
package words
