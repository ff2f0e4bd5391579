package rendezvous

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what passes. Labels are few and fixed: no team, no agent.
type metrics struct {
	agents        prometheus.Gauge
	waiting       prometheus.Gauge
	registrations *prometheus.CounterVec // by result
	offers        *prometheus.CounterVec // by result
	strangers     prometheus.Counter
	dropped       *prometheus.CounterVec // messages of agents, by reason
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "tucdesk_rendezvous_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tucdesk_rendezvous_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		agents:        gauge("agents", "Agents that are online."),
		waiting:       gauge("offers_waiting", "Offers that wait for an answer or a finish."),
		registrations: vec("registrations_total", "Registrations, by result.", "result"),
		offers:        vec("offers_total", "Offers, by result.", "result"),
		strangers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tucdesk_rendezvous_unauthenticated_total", Help: "Requests of callers who were not admitted."}),
		dropped: vec("dropped_messages_total", "Messages of agents that were dropped, by reason.", "reason"),
	}
	for _, c := range []prometheus.Collector{m.agents, m.waiting, m.registrations, m.offers, m.strangers, m.dropped} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("rendezvous: metrics: %w", err)
		}
	}
	return m, nil
}
