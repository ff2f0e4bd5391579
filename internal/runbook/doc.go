// Package runbook holds what admins sign as a runbook: steps, each a command with
// parameters, and where it runs. A step with values is one argument list, the same on
// every device and machine that works it out.
//
// Invariants:
//   - a document means one thing: it is read as strictly as a policy, and a problem has
//     its line and column;
//   - a value fills a whole word, or the marked part of one. It adds no word, it is
//     never empty, and no shell reads it; it begins with "-" only where the document
//     spells that out;
//   - which program runs is never up to a value;
//   - an Instance says which step with which values; Match gives the one command that it
//     means, or an error.
//
// Whether a command may run is no question of this package: policy judges a step as any
// command. SPEC.md in this folder describes the language.
//
// The package is pure: it must not import os, net or log/slog, and of this module only
// internal/sanitize and below internal/policy.
package runbook
