// Package store is what apid keeps: the roster's statements, the targets that
// follow from them, used proof ids, approvals, sessions, recordings' manifests and the audit log. It
// declares the interfaces and their meaning. store/relational answers them in
// SQL, store/sqlite and store/postgres run it, store/engine chooses between the
// two, and store/storetest holds the suite that every implementation passes.
//
// Invariants:
//   - Everything belongs to one team. A transaction is opened for a team, and
//     nothing inside it can name another.
//   - Store.Tx is the team's only writer while it runs. Its effects are durable
//     when it returns nil, and never partly there. After an error they are
//     either all there (the answer got lost) or not at all.
//   - An audit entry is written in the same transaction as what it records.
//   - Rows are signed objects and their index, not authority: no key and no
//     setting that steers anything lives here.
//   - Every list has a limit.
//
// The package must not import a database driver, net or a service package.
package store
