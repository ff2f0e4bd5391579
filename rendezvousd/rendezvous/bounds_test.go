package rendezvous

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func TestHellosAreBounded(t *testing.T) {
	h := &hellos{ofAddr: make(map[string]int)}
	enter := func(n int, remote func(int) string) (leave []func()) {
		for i := range n {
			if l, ok := h.enter(remote(i)); ok {
				leave = append(leave, l)
			}
		}
		return leave
	}
	same := enter(1000, func(i int) string { return fmt.Sprintf("192.0.2.1:%d", 1+i) })
	if len(same) != maxHellosOfAddr {
		t.Fatalf("%d of one address", len(same))
	}
	if v6 := enter(1000, func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", 1+i) }); len(v6) != maxHellosOfAddr {
		t.Fatalf("%d of one /64", len(v6))
	}
	rest := enter(maxHellos, func(int) string { return "127.0.0.1:1" })
	if len(rest) != maxHellos-2*maxHellosOfAddr {
		t.Fatalf("%d of a proxy on this machine", len(rest))
	}
	if _, ok := h.enter("198.51.100.1:1"); ok {
		t.Fatal("more than all")
	}
	same[0]()
	same[0]() // once counts
	if h.all != maxHellos-1 || h.ofAddr["192.0.2.1"] != maxHellosOfAddr-1 {
		t.Fatal(h.all)
	}
	if _, ok := h.enter("192.0.2.1:1"); !ok {
		t.Fatal("no room after one has left")
	}
}

// The directory holds at most max agents, and remembers at most twice as many.
func TestDirectoryIsBounded(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	const most = 10
	d := newDirectory(most, m)
	now := time.Unix(1_795_000_000, 0)
	conn := func(i byte) *agentConn {
		return &agentConn{id: agentID{"acme", key.Kid{i}}, ending: make(chan struct{})}
	}
	for i := range byte(most) {
		if why, ok := d.add(conn(i), now); !ok {
			t.Fatal(why)
		}
	}
	if why, ok := d.add(conn(99), now); ok || why != wire.ByeBusy {
		t.Fatalf("one too many: %q", why)
	}
	for i := range byte(100) {
		c, ok := d.online(agentID{"acme", key.Kid{i}})
		if ok {
			d.remove(c)
		}
		if _, ok := d.add(conn(100+i), now); ok {
			c, _ := d.online(agentID{"acme", key.Kid{100 + i}})
			d.remove(c)
		}
	}
	if len(d.seen) > 2*most || len(d.conn) > most {
		t.Fatalf("%d seen, %d connected", len(d.seen), len(d.conn))
	}
}
