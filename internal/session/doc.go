// Package session is the end-to-end protocol between an operator's device and
// an agent: the handshake TDH1 and the sealed datagrams that follow it. SPEC.md
// in this folder has every byte.
//
// The handshake is SIGMA-I with a TLS 1.3-like key schedule: ephemeral X25519
// (with ML-KEM-768 in suite 2), HKDF-SHA256 with the label tucdesk-session-v1,
// AES-256-GCM, and Ed25519 signatures of both sides over the transcript. Both
// sides know each other's identity beforehand, from the roster; neither is sent.
//
//	initiator (operator)                         responder (agent)
//	Initiate                 -- HS1 -->          Respond
//	Initiator.Consume        <-- HS2 --
//	                         -- HS3 -->          Responder.Consume
//	Records.Open             <-- ACCEPT --       Records.Accept
//	Records.Seal             <-- DATA -->        Records.Seal
//
// Invariants:
//   - Whatever is wrong with a message of the other side, the error is
//     ErrHandshake, and the state is as before, so that a forged message spoils
//     nothing. Success ends a state: its keys are erased and it takes no more.
//   - No caller chooses a nonce or a counter, and none can go back.
//   - The initiator seals nothing before the responder's ACCEPT has come.
//   - Every key lives behind an unexported field and prints as "redacted". No
//     key is stored; after Close the only trace is what Go's garbage collector
//     has not yet reused.
//
// The package is pure: it reads no file and no network, only crypto/rand and
// the clock, for rekeying. It must not import os, net, log/slog or
// database/sql, nor a package of this module that does.
package session
