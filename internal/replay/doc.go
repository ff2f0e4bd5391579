// Package replay refuses what was seen before.
//
// Window serves counters: one per direction and epoch of a session's record
// layer. Nonces serves signed messages that carry a timestamp and a random
// nonce, such as the registrations that agents send to rendezvous.
//
// One invariant holds in both: forgetting raises a floor. Memory is bounded, so
// old entries go; whatever goes takes everything at or below it out of
// acceptance for good. A plain LRU cache lacks this and makes an old nonce
// fresh again by evicting it.
//
// The package is pure: it reads no clock, no file and no network, and it
// imports nothing of this module.
package replay
