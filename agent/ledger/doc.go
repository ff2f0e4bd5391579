// Package ledger is what an agent must not forget: which single-use things were
// used, how new a roster it has seen, and which audit entries it still owes.
//
//   - Used: ids of sessions and nonces of approvals. Use returns nil only after
//     the id is on disk, so whatever follows happens at most once, also across
//     kill -9 and power loss.
//   - Head: the newest roster head. It is never replaced by a lower one.
//   - The clock: how far the machine's has come. When it goes back by more than a
//     minute nothing is used, since what had expired would be good again.
//   - Outbox: the agent's signed audit entries, numbered and chained, kept until
//     the audit log has acknowledged them.
//   - Running: which sessions run, and what must be known of them after a new start.
//
// All of it lives in one folder under one lock; a second process is refused.
//
// Invariants. Nothing here forgets towards "fresh": dropping an expired id
// raises a floor under which everything is refused, and damage to the file
// refuses whatever was issued before the damage was found. A failed write or
// fsync breaks the object for good: every later call fails until the process
// starts again and reads what the disk really holds.
//
// What it can't see: a file replaced as a whole by an older copy of itself
// (a restored backup) within the life of the ids in it. Root on the host can do
// that; root on the host is outside what TucDesk promises for that host.
//
// The package must not import the network, a store or a console.
package ledger
