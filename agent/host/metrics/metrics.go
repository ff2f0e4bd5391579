// Package metrics is what an agent counts. It must not import agent/host.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
)

// Metrics count; none carries a name of a person, a session or a command.
type Metrics struct {
	Offers   prometheus.Counter
	Refusals *prometheus.CounterVec // by code
	Sessions prometheus.Gauge
	Uplink   uplink.Metrics
}

// New registers with r; nil registers nowhere. Several agents of one
// process are told apart by name.
func New(r prometheus.Registerer, name string) (*Metrics, error) {
	gauge := func(n, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tucdesk", Subsystem: "agent", Name: n, Help: help})
	}
	online := gauge("online", "1 while registered with a rendezvous.")
	owed := gauge("owed_entries", "Audit entries that are being handed in.")
	seq := gauge("roster_seq", "Number of the newest roster statement.")
	m := &Metrics{
		Offers: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tucdesk", Subsystem: "agent", Name: "offers_total", Help: "Offers of sessions that came in."}),
		Refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tucdesk", Subsystem: "agent", Name: "refusals_total", Help: "Offers, channels and running sessions that were refused or cut."}, []string{"code"}),
		Sessions: gauge("sessions", "Sessions that run."),
		Uplink:   uplink.Metrics{Online: online.Set, Owed: owed.Set, Head: seq.Set},
	}
	if r == nil {
		return m, nil
	}
	r = prometheus.WrapRegistererWith(prometheus.Labels{"agent": name}, r)
	for _, c := range []prometheus.Collector{m.Offers, m.Refusals, m.Sessions, online, owed, seq} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
