package door

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are apid's. Labels are routes and statuses: never a name, an address
// or a key.
type metrics struct {
	requests *prometheus.CounterVec
}

func newMetrics(r *prometheus.Registry) (metrics, error) {
	m := metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tucdesk_apid_requests_total",
		Help: "Requests answered, by route and status.",
	}, []string{"route", "status"})}
	if err := r.Register(m.requests); err != nil {
		return metrics{}, fmt.Errorf("door: metrics: %w", err)
	}
	return m, nil
}
