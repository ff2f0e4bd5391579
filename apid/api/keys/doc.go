// Package keys is the folder of the servers' keys: one file for each purpose, and
// beside it, while keys are rotated, the next one and the old one.
//
// Invariants:
//   - a key is made once and never written over;
//   - it is in its file, mode 0600, and nowhere else: not in the database, not in
//     a log, not in the configuration;
//   - what signs for a team is a key that the team's admins have signed into its
//     roster, as long as there is one.
//
// The package must not import internal/store.
package keys
