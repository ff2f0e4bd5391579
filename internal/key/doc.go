// Package key holds TucDesk's typed keys: the Ed25519 identity of a device,
// an agent or a server, its public side and thumbprint, and the age recipient
// that things are sealed to. No exported signature takes a key as []byte, so
// one kind of key can't be passed where another is meant.
//
// Private keys print as "redacted" under every fmt verb, in slog and in JSON;
// the only way to their text is a method named SecretText, which internal/keyfile
// alone calls to store them.
//
// The package is pure: it must not import os, net or log/slog.
package key
