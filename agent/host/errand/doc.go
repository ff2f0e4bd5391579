// Package errand is the agent's end of copies, forwards and proxies.
//
// It has two sides. [Main] is a process of its own that runs as the account that policy
// has named: it opens the files, looks up the name and makes the connection, with that
// account's rights and no others. A [Watch] is in the session half, between that process
// and the channel: it counts and digests what passes, for the audit log, and ends the
// process when what passes is not what was allowed. So what is kept as evidence does not
// rest on a process that the account could meddle with.
//
// Invariants:
//   - nothing of a copy is opened through a symbolic link;
//   - nothing passes that the Watch has not taken;
//   - a forward that begins to speak SSH ends.
//
// It must not import agent/ledger, agent/host, agent/host/live or internal/roster.
package errand
