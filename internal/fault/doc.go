// Package fault makes the things that TucDesk stands on fail on purpose: before
// they do what they were asked, or after they have done it and the answer got
// lost. Those two look alike to the caller, and whoever handles only the first
// loses data in the second.
//
// It serves tests. It must not be imported by a program.
package fault
