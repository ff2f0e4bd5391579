package relay

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what passes. Labels are few and fixed: no session, no address.
type metrics struct {
	allocations prometheus.Gauge
	connections prometheus.Gauge
	opened      prometheus.Counter
	bytes       *prometheus.CounterVec // by sending side
	packets     *prometheus.CounterVec // by sending side
	dropped     *prometheus.CounterVec // by reason
	refused     *prometheus.CounterVec // by reason
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tucdesk_relay_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		allocations: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tucdesk_relay_allocations", Help: "Allocations that are open."}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tucdesk_relay_connections", Help: "Connections of clients over TCP and TLS that are open."}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tucdesk_relay_allocations_opened_total", Help: "Allocations opened since the start."}),
		bytes:   vec("bytes_total", "Payload bytes handed over, by the side that sent them.", "from"),
		packets: vec("datagrams_total", "Datagrams handed over, by the side that sent them.", "from"),
		dropped: vec("dropped_datagrams_total", "Datagrams not handed over, by reason.", "reason"),
		refused: vec("refused_total", "Requests refused, by reason.", "reason"),
	}
	for _, c := range []prometheus.Collector{m.allocations, m.connections, m.opened, m.bytes, m.packets, m.dropped, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("relay: metrics: %w", err)
		}
	}
	return m, nil
}
