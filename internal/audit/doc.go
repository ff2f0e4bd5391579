// Package audit is the team's evidence: entries signed by whoever they are
// about or by apid as recorder, numbered and chained per signer; an append-only
// Merkle log of them (RFC 6962, golang.org/x/mod/sumdb/tlog) with checkpoints
// as signed notes (C2SP tlog-checkpoint); proofs (C2SP tlog-proof); and the
// export, one file that Verify checks offline and that needs no trust in
// anything but the team's fingerprint. SPEC.md in this folder has every field
// and the export's bytes.
//
// Invariants:
//   - an entry holds no command in the clear: a commitment, and the command
//     sealed to people;
//   - nothing in an export is trusted because it is there: keys come from the
//     roster, and the roster from the fingerprint;
//   - the log signs a checkpoint only if it extends the one signed before.
//
// The package is pure: it must not import os, net/http, database/sql, log/slog
// or internal/store, and it reads no clock.
package audit
