// Package rendezvous knows which agents are online, per team, and carries offers
// and answers between operators and agents. It sees who talks to whom, when, and
// how many bytes; what it carries is sealed or signed for others.
//
// Agents dial out and register over a WebSocket (internal/wire, the signal
// files): a signature over a timestamped payload, checked against the roster of
// that team. Operators come with an access token and a DPoP proof, apid with a
// signed request. Where a policy has break-glass, a device of the roster may knock
// with its own signature while no apid is there to give it a token.
//
// Invariants:
//   - the team of a caller comes from what was verified, never from a name in
//     the request; one team's key is to another like one that never was;
//   - one connection for each (team, agent): the newer valid registration
//     replaces the older;
//   - an answer goes only to the offer of its session, and only from the agent
//     that the offer was sent to; everything else is dropped silently;
//   - who stays silent longer than Config.Offline is offline;
//   - connections, offers, queues and memories of nonces are bounded;
//   - no payload is logged.
//
// The package must not import internal/session or internal/recording: it can't
// decrypt what passes. It trusts apid for rosters, and nobody trusts it: a wrong
// answer costs availability only.
package rendezvous
