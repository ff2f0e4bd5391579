package host

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
)

// metrics count; none carries a name of a person, a session or a command.
type metrics struct {
	offers   prometheus.Counter
	refusals *prometheus.CounterVec // by code
	sessions prometheus.Gauge
	uplink   uplink.Metrics
}

// newMetrics registers with r; nil registers nowhere. Several agents of one
// process are told apart by name.
func newMetrics(r prometheus.Registerer, name string) (*metrics, error) {
	gauge := func(n, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tucdesk", Subsystem: "agent", Name: n, Help: help})
	}
	online := gauge("online", "1 while registered with a rendezvous.")
	owed := gauge("owed_entries", "Audit entries that are being handed in.")
	seq := gauge("roster_seq", "Number of the newest roster statement.")
	m := &metrics{
		offers: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tucdesk", Subsystem: "agent", Name: "offers_total", Help: "Offers of sessions that came in."}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tucdesk", Subsystem: "agent", Name: "refusals_total", Help: "Offers, channels and running sessions that were refused or cut."}, []string{"code"}),
		sessions: gauge("sessions", "Sessions that run."),
		uplink:   uplink.Metrics{Online: online.Set, Owed: owed.Set, Head: seq.Set},
	}
	if r == nil {
		return m, nil
	}
	r = prometheus.WrapRegistererWith(prometheus.Labels{"agent": name}, r)
	for _, c := range []prometheus.Collector{m.offers, m.refusals, m.sessions, online, owed, seq} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
