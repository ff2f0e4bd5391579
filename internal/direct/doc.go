// Package direct is how the two sides of a session agree on a path without the
// relay. They speak on a channel of the session itself, of kind [Kind]: addresses
// and ICE credentials are sealed end to end, and no server sees them. A session
// begins on the relay and waits for nothing; internal/decisions/0024 says why.
//
//	operator, Lead                              agent, Follow
//	gathers       -- {attempt 1, offer} -->     gathers
//	              <-- {attempt 1, answer} --
//	              <==== ICE's checks ====>
//	each side goes over by itself
//	              <-- {attempt 1, gone} -->     by whoever sees the path die
//	pauses        -- {attempt 2, offer} -->
//
// # Bytes
//
// A message is its length (u16, big endian, at most maxMessage) and one [message]
// in deterministic CBOR, read strictly:
//
//	attempt      uint   from 1; each offer has a higher one than the last
//	description  map    of an offer or an answer; absent: the attempt is gone
//	  fragment   text   ICE user name fragment, 4 to 64 characters
//	  password   text   ICE password, 22 to 64 characters
//	  candidates array  of 1 to 8 maps: addr (bytes: address, port in little
//	                    endian), reflexive (bool)
//
// Whatever else comes ends the channel, and the session stays on the relay.
//
// Invariants:
//   - a description is checked (path.Description.Check) before anything is sent to
//     an address in it;
//   - one attempt at a time, at most maxAttempts in the life of a session: whoever
//     calls Follow allows one channel of this kind in each session;
//   - nothing here ends or delays a session, or says who the peer is.
//
// The package must not import servers' packages; relayd and rendezvousd must not
// import it.
package direct
