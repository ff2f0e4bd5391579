// Package approval holds what people sign when a request is held: the ask of
// the operator, the approval of an approver, and the decision that apid may see;
// the state machine that apid keeps them in; and Check, by which an agent
// decides whether the approvals it was brought suffice. SPEC.md has the fields.
//
// Invariants:
//   - an approval binds everything that will run; a decision holds no command;
//   - members count, not devices, and never the requester;
//   - deny wins over approve among the decisions that one place has seen;
//   - Check trusts nothing that apid says: it looks only at signed bytes and at
//     the agent's own roster;
//   - Check does not remember: that one approval is used once is the ledger's
//     duty, by the nonce that all approvals of an ask share.
//
// The package is pure: it must not import os, net/http, database/sql or
// log/slog, it reads no clock, and all of it is safe for concurrent use.
package approval
