// Package contact is first contact: what a device or an agent says before any
// roster has it, what it is answered, and the texts that people carry between
// the two: six words, a pairing key, a token, a card.
//
// A newcomer and whoever may add it meet at a mailbox of a server that neither
// trusts. What binds them goes past the server: read aloud (the words of a
// device, the words of a team), typed (a pairing key) or handed over (a token).
// SPEC.md in this folder has each format and what each end checks.
//
// Invariants:
//   - a newcomer's keys are believed only when words, hash or MAC match them;
//   - a team is believed only under the MAC of a secret that the newcomer made
//     or was handed, or after a person has compared its words;
//   - every answer names a roster head: a newcomer takes no older roster;
//   - a secret shows under no fmt verb; Text is the door to where people read it.
//
// The package is pure: it must not import os, net, net/http or log/slog, and it
// has no clock.
package contact
