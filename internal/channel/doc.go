// Package channel multiplexes an established session: many ordered, flow
// controlled channels over sealed datagrams, on any net.PacketConn that reaches
// the peer.
//
// Below is internal/session: every datagram is one of its records, and nothing
// else is believed. QUIC (RFC 9000) runs inside the records for retransmission,
// streams and priorities. QUIC's own TLS proves nothing here; it is pinned to
// the session's exporter all the same. Datagrams are told apart by the session's
// connection id, never by address: a peer may change its address.
//
//	operator                                     agent
//	Dial        <-- ACCEPT --                    Accept
//	Mux.Open    -- Open frame -->                Mux.Accept
//	            <-- Answer frame --              Channel.Answer
//	Write       -- Stdin … EOF, Resize, Signal -->
//	            <-- Stdout, Stderr … EOF or Exit --
//
// The operator opens channels; the agent answers each. Until an answer allows
// it, neither side sends more. An Answer that is missing, zero or anything but
// "allow" opens nothing.
//
// # Paths that end
//
// With Options.Grace a Mux outlives its path: its channels wait, nothing is lost, and
// the link comes back by itself when the network does, or on another path and under
// new keys with Resume. Lost tells how it stands.
//
// # Ends
//
// Close ends the session, Leave one connection of it: the peer reads ErrClosed or
// ErrLeft. A connection that ends with neither is ErrLost.
//
// A direction of a channel is complete only if its sender said so, with EOF
// (CloseWrite) or Exit. A channel that ends otherwise, because the sender gave
// up, crashed, or the network went away, reads as ErrTruncated, never as io.EOF.
// So Close without CloseWrite or Exit is a refusal to vouch for what was sent.
//
// A Mux that is closed says goodbye: QUIC's CONNECTION_CLOSE with code 0, in a record
// like any other, so a network can't forge it. Who hears it confirms with an empty
// datagram, which QUIC never sends; until then the goodbye is repeated, some times.
//
// # For the agent
//
//	mux, err := channel.Accept(ctx, conn, peer, established, channel.Options{})
//	for {
//		ch, err := mux.Accept(ctx) // err: the session is over, mux.Err tells how
//		go func() {
//			defer ch.Close()
//			m := ch.Request()           // hostile: evaluate it, each time
//			ch.Answer(channel.Answer{Effect: channel.Allow, …})
//			// Read frames in one goroutine: Stdin, EOF, Resize, Signal.
//			// Write from as many as there are streams: Stdout, Stderr.
//			ch.Exit(channel.Exit{Code: 0})
//		}()
//	}
//
// A read that fails with ErrTruncated means that the operator is gone: end what
// runs, or keep the PTY for the grace period. After Exit do not close the Mux at
// once: closing drops what is still on its way. The operator closes it, or
// the idle time-out does.
//
// # For the operator
//
//	mux, err := channel.Dial(ctx, conn, peer, established, channel.Options{})
//	ch, err := mux.Open(ctx, channel.OpenMessage{Kind: "exec", Argv: argv})
//	answer, err := ch.AwaitAnswer(ctx) // err is nil for every effect; look at it
//	// ReadFrame until Exit; write Stdin, then CloseWrite.
//
// Byte channels (copy, forward, proxy) have one stream each way: use Read, Write
// and CloseWrite, and never look at frames.
//
// Every text in OpenMessage, Answer and Exit comes from the network: show it
// only through internal/sanitize.
//
// The package must not import servers' packages, storage or the screen; relayd
// and rendezvousd must not import it.
package channel
