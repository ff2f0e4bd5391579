// Package team is what people do about a team itself: found it, join it, and, as
// its admins, add and remove devices and machines. It makes statements on the
// device that signs them, and meets newcomers by way of internal/contact, so that
// no server decides who is who.
//
// Invariants:
//   - a statement that would not hold is never sent;
//   - a newcomer is added only when words, pairing key or token name its keys;
//   - a team is joined only when its words were compared, or it was known before;
//   - what was begun before a crash is taken up again, never begun anew.
//
// It prints nothing and asks nobody: its callers pass functions for that. It must
// not import a service.
package team
