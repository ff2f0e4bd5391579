package relay

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// speaker says to a relay in memory whatever it is told to, from one address.
type speaker struct {
	t testing.TB
	*end
	relay net.Addr
	auth  []stun.Setter // user name, realm, nonce and signature; nil for a stranger
}

// ask sends datagrams, and gives every reply to them. The relay takes datagrams
// in order, so its answer to a binding request comes after them.
func (s *speaker) ask(datagrams ...[]byte) (replies [][]byte) {
	s.t.Helper()
	last := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	for _, d := range append(datagrams, last.Raw) {
		s.send(d)
	}
	for deadline := time.After(time.Minute); ; {
		select {
		case p := <-s.inbox:
			m := &stun.Message{Raw: bytes.Clone(p.data)}
			if m.Decode() == nil && m.TransactionID == last.TransactionID {
				return replies
			}
			replies = append(replies, p.data)
		case <-deadline:
			s.t.Fatal("the relay does not answer any more")
		}
	}
}

// send writes one datagram once there is room for it.
func (s *speaker) send(d []byte) {
	for {
		s.wire.mu.Lock()
		inbox := s.wire.ends[s.relay.String()].inbox
		s.wire.mu.Unlock()
		if len(inbox) < cap(inbox)/2 {
			s.WriteTo(d, s.relay)
			return
		}
		time.Sleep(time.Microsecond)
	}
}

// request gives a request with the attributes, signed if the speaker has a
// credential.
func (s *speaker) request(typ stun.MessageType, attributes ...stun.Setter) []byte {
	s.t.Helper()
	m, err := stun.Build(append(append([]stun.Setter{stun.TransactionID, typ}, attributes...), s.auth...)...)
	if err != nil {
		return nil // attributes that no datagram has room for
	}
	return m.Raw
}

// admit lets the speaker sign with the credential.
func (s *speaker) admit(c cred.Credential) {
	s.t.Helper()
	for _, reply := range s.ask(s.request(stun.NewType(stun.MethodAllocate, stun.ClassRequest))) {
		m := &stun.Message{Raw: reply}
		var nonce stun.Nonce
		if m.Decode() == nil && nonce.GetFrom(m) == nil {
			s.auth = []stun.Setter{
				stun.NewUsername(c.Username), stun.NewRealm(realm), nonce,
				stun.NewLongTermIntegrity(c.Username, realm, string(c.Password)),
			}
		}
	}
	if s.auth == nil {
		s.t.Fatal("the relay gave no nonce")
	}
}

// attribute is any attribute with any value.
type attribute struct {
	typ   stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error { m.Add(a.typ, a.value); return nil }

var udp = attribute{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}

// peerAt names a peer. For IPv4 the transaction is not in the value.
func peerAt(at *net.UDPAddr) attribute {
	m := stun.MustBuild(stun.TransactionID)
	a := stun.XORMappedAddress{IP: at.IP, Port: at.Port}
	if err := a.AddToAs(m, stun.AttrXORPeerAddress); err != nil {
		panic(err)
	}
	v, err := m.Get(stun.AttrXORPeerAddress)
	if err != nil {
		panic(err)
	}
	return attribute{stun.AttrXORPeerAddress, v}
}

// allocate opens an allocation that may be sent to by the other side.
func (s *speaker) allocate(side cred.Side) {
	s.t.Helper()
	replies := s.ask(
		s.request(stun.NewType(stun.MethodAllocate, stun.ClassRequest), udp),
		s.request(stun.NewType(stun.MethodCreatePermission, stun.ClassRequest), peerAt(relayed(other(side)))),
	)
	for _, r := range replies {
		m := &stun.Message{Raw: r}
		if err := m.Decode(); err != nil || m.Type.Class != stun.ClassSuccessResponse {
			s.t.Fatalf("%v, %v", m, err)
		}
	}
	if len(replies) != 2 {
		s.t.Fatalf("%d replies", len(replies))
	}
}

// pieces cuts fuzzed bytes into at most 12 pieces, each behind its length.
func pieces(b []byte) (out [][]byte) {
	for len(b) >= 2 && len(out) < 12 {
		n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		out = append(out, b[2:2+n])
		b = b[2+n:]
	}
	return out
}

func piece(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// attributes cuts one piece into attributes: type, length in one byte, value.
func attributes(b []byte) (out []stun.Setter) {
	for len(b) >= 3 && len(out) < 40 {
		n := min(int(b[2]), len(b)-3)
		out = append(out, attribute{stun.AttrType(binary.BigEndian.Uint16(b)), b[3 : 3+n]})
		b = b[3+n:]
	}
	return out
}

// FuzzDatagrams holds a relay against datagrams of a stranger, requests that a
// member of one session has signed, and datagrams from where that member has an
// allocation. Whatever they are: the relay goes on, a stranger gets no
// allocation and no more than one short reply to each, and a session of others
// neither hears of it nor is cut.
func FuzzDatagrams(f *testing.F) {
	const stranger, signed, member = 0, 1, 2
	types := map[string]stun.MessageType{
		"allocate": stun.NewType(stun.MethodAllocate, stun.ClassRequest), "refresh": stun.NewType(stun.MethodRefresh, stun.ClassRequest),
		"permission": stun.NewType(stun.MethodCreatePermission, stun.ClassRequest), "channel": stun.NewType(stun.MethodChannelBind, stun.ClassRequest),
		"connect": stun.NewType(stun.MethodConnect, stun.ClassRequest), "binding": stun.BindingRequest,
		"send": stun.NewType(stun.MethodSend, stun.ClassIndication), "data": stun.NewType(stun.MethodData, stun.ClassIndication),
	}
	toAgent := peerAt(relayed(cred.Agent)).value
	elsewhere := peerAt(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 3478}).value
	tlv := func(t stun.AttrType, v []byte) []byte {
		return append(append(binary.BigEndian.AppendUint16(nil, uint16(t)), byte(len(v))), v...)
	}
	for _, typ := range types {
		raw := stun.MustBuild(stun.TransactionID, typ, udp, attribute{stun.AttrXORPeerAddress, toAgent}, attribute{stun.AttrData, []byte("data")}).Raw
		f.Add(byte(stranger), piece(raw))
		f.Add(byte(member), append(piece(raw), piece([]byte{0x40, 0, 0, 4, 'd', 'a', 't', 'a'})...))
		head := binary.BigEndian.AppendUint16(nil, typ.Value())
		f.Add(byte(signed), piece(append(bytes.Clone(head), tlv(stun.AttrRequestedTransport, udp.value)...)))
		f.Add(byte(signed), piece(append(bytes.Clone(head), tlv(stun.AttrLifetime, []byte{0, 0, 0, 0})...)))
		for _, peer := range [][]byte{toAgent, elsewhere} {
			m := append(bytes.Clone(head), tlv(stun.AttrXORPeerAddress, peer)...)
			f.Add(byte(signed), piece(append(m, tlv(stun.AttrChannelNumber, []byte{0x40, 0, 0, 0})...)))
			f.Add(byte(signed), piece(append(m, tlv(stun.AttrData, []byte("data"))...)))
		}
		f.Add(byte(signed), piece(append(bytes.Clone(head), tlv(stun.AttrEvenPort, []byte{0x80})...)))
		f.Add(byte(signed), piece(append(bytes.Clone(head), tlv(stun.AttrReservationToken, make([]byte, 8))...)))
	}
	f.Fuzz(func(t *testing.T, mode byte, b []byte) {
		w, secret := &wire{}, cred.NewSecret()
		s := start(t, Config{Secret: secret, ListenPacket: func(string, string) (net.PacketConn, error) { return w.listen(), nil }})
		speak := func() *speaker { return &speaker{t: t, end: w.listen(), relay: s.Addr()} }
		operator, agent := speak(), speak()
		operator.admit(secret.Mint(id(2), cred.Operator, inAnHour()))
		agent.admit(secret.Mint(id(2), cred.Agent, inAnHour()))
		operator.allocate(cred.Operator)
		agent.allocate(cred.Agent)

		mallory, datagrams, most := speak(), pieces(b), 2
		switch mode % 3 {
		case signed:
			mallory.admit(secret.Mint(id(1), cred.Operator, inAnHour()))
			for i, d := range datagrams {
				if len(d) >= 2 {
					var typ stun.MessageType
					typ.ReadValue(binary.BigEndian.Uint16(d))
					datagrams[i] = mallory.request(typ, attributes(d[2:])...)
				}
			}
			most = 3
		case member:
			mallory.admit(secret.Mint(id(1), cred.Operator, inAnHour()))
			mallory.allocate(cred.Operator)
			most = 3
		}
		replies := mallory.ask(datagrams...)
		if len(replies) > len(datagrams) {
			t.Fatalf("%d replies to %d datagrams", len(replies), len(datagrams))
		}
		for _, r := range replies {
			if longest := inboundMTU + 200; len(r) > longest {
				t.Fatalf("a reply of %d bytes", len(r))
			}
		}
		s.hub.mu.Lock()
		legs := s.hub.legs
		s.hub.mu.Unlock()
		if legs < 2 || legs > most {
			t.Fatalf("%d allocations, want 2 to %d", legs, most)
		}
		for _, victim := range []*speaker{operator, agent} {
			if heard := victim.ask(); len(heard) != 0 {
				t.Fatalf("another session hears %x", heard)
			}
		}
		operator.ask(operator.request(stun.NewType(stun.MethodSend, stun.ClassIndication), peerAt(relayed(cred.Agent)), attribute{stun.AttrData, []byte("still here")}))
		select {
		case p := <-agent.inbox:
			if !bytes.Contains(p.data, []byte("still here")) {
				t.Fatalf("another session hears %x", p.data)
			}
		case <-time.After(time.Minute):
			t.Fatal("another session was cut")
		}
	})
}
