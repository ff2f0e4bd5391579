// Package wire is what travels between TucDesk's programs over HTTP: the request
// and response types of apid and rendezvousd, their problems (RFC 9457), and the
// clients. The WebSocket messages between agents and rendezvousd are in the
// signal files.
//
// Nothing here is authority. Whatever an agent or an auditor must believe is an
// envelope inside one of these messages, as bytes that nobody re-encodes; the
// JSON around it is addressing. So the types hold []byte where a signed or
// sealed object travels (base64 in JSON), and the caller verifies it.
//
// Members sign in with their device key and prove each request with DPoP
// (RFC 9449) over method, URL, token, server nonce and body. Agents and servers
// have no tokens: they sign each request with their own key (token.Request).
// Every answer is read with a limit and a deadline, and decoded strictly.
// Plain http is refused beyond loopback.
//
// The package is a leaf: of this module it imports key, envelope and token.
package wire
