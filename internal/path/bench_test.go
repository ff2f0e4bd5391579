package path_test

import (
	"io"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// onEach runs a benchmark with a session on each way to the relay, and one on a direct
// path, with and without datagrams that pass the system many at a time, so that one
// run compares them.
func onEach(b *testing.B, run func(b *testing.B, ch *channel.Channel), serve func(*channel.Channel)) {
	for _, where := range []string{"relay/udp", "relay/tcp", "relay/tls", "direct", "direct, one at a time"} {
		b.Run(where, func(b *testing.B) {
			w := newTown(b)
			w.udp.on.Store(where == "relay/tcp" || where == "relay/tls")
			if where == "relay/tls" {
				w.tcp.block()
			}
			s := &switches{}
			for side, into := range map[cred.Side]**path.Switch{cred.Operator: &s.operator, cred.Agent: &s.agent} {
				*into = path.NewSwitch(w.open(b, w.dialer(), side), path.Options{Loopback: true})
				b.Cleanup(func() { (*into).Close() })
			}
			for from, to := range map[*path.Switch]*path.Switch{s.operator: s.agent, s.agent: s.operator} {
				if err := from.Permit(b.Context(), to.LocalRelayed()); err != nil {
					b.Fatal(err)
				}
			}
			var operator, agent *channel.Mux
			if where == "direct, one at a time" { // as without the system's help
				s.operator.Fault(&s.faults)
				s.agent.Fault(&s.faults)
			}
			if strings.HasPrefix(where, path.Relay) {
				operator, agent = s.session(b)
			} else {
				operator, agent = s.muxes(b)
				s.await(b, path.Direct)
			}
			go func() {
				ch, err := agent.Accept(b.Context())
				if err != nil {
					return
				}
				ch.Answer(channel.Answer{Effect: channel.Allow})
				serve(ch)
			}()
			ch, err := operator.Open(b.Context(), channel.OpenMessage{Kind: "copy"})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := ch.AwaitAnswer(b.Context()); err != nil {
				b.Fatal(err)
			}
			run(b, ch)
			if got := s.operator.Path(); !strings.HasPrefix(where, got) {
				b.Errorf("ended on %s", got)
			}
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	onEach(b, func(b *testing.B, ch *channel.Channel) {
		block := make([]byte, 1<<20)
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			if _, err := ch.Write(block); err != nil {
				b.Fatal(err)
			}
		}
	}, func(ch *channel.Channel) { io.Copy(io.Discard, struct{ io.Reader }{ch}) })
}

func BenchmarkEcho(b *testing.B) {
	onEach(b, func(b *testing.B, ch *channel.Channel) {
		key := make([]byte, 1)
		for b.Loop() {
			if _, err := ch.Write(key); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(ch, key); err != nil {
				b.Fatal(err)
			}
		}
	}, func(ch *channel.Channel) { io.Copy(struct{ io.Writer }{ch}, struct{ io.Reader }{ch}) })
}
