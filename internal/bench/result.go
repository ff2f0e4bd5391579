package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// A bound is what a row promises.
type bound struct {
	least bool    // at least, not at most
	limit float64 // of the ratio to the peer, or of ours
	own   bool    // limit is of ours, in the row's unit
}

// ratio bounds say how ours compares with the peer's, own ones what ours is.
func atMost(ratio float64) bound  { return bound{limit: ratio} }
func atLeast(ratio float64) bound { return bound{limit: ratio, least: true} }
func within(own float64) bound    { return bound{limit: own, own: true} }

// reported is the bound of what has no target.
var reported = bound{limit: math.Inf(1), own: true}

// A row is one target.
type row struct {
	name string
	doc  string
	unit string
	peer string // what ours is compared with; "": nothing
	bound
	run func(*workshop) (figures, error)
}

// figures are what a row has measured.
type figures struct {
	ours, peer float64 // in the row's unit; peer 0: there is none
	note       string  // what a reader must know of them
}

// target is the row's bound in words.
func (r row) target() string {
	word := "<="
	if r.least {
		word = ">="
	}
	switch {
	case math.IsInf(r.limit, 0):
		return "-"
	case r.own:
		return fmt.Sprintf("%s %g %s", word, r.limit, r.unit)
	}
	return fmt.Sprintf("%s %gx %s", word, r.limit, r.peer)
}

// A result is a row as it is printed. Nil means: not measured, or there is none.
type result struct {
	Name   string   `json:"name"`
	Ours   *float64 `json:"ours"`
	Peer   *float64 `json:"peer"`
	Unit   string   `json:"unit"`
	Ratio  *float64 `json:"ratio"`
	Target string   `json:"target"`
	Met    *bool    `json:"met"`
	Why    string   `json:"why,omitempty"` // it was not measured, or what a reader must know
}

func (r row) result(f figures, err error) result {
	res := result{Name: r.name, Unit: r.unit, Target: r.target(), Why: f.note}
	if err != nil {
		res.Why = "not measured: " + err.Error()
		return res
	}
	res.Ours = &f.ours
	if f.peer > 0 {
		ratio := f.ours / f.peer
		res.Peer, res.Ratio = &f.peer, &ratio
	}
	judged := res.Ours
	if !r.own {
		judged = res.Ratio
	}
	if judged != nil && !math.IsInf(r.limit, 0) {
		met := *judged <= r.limit
		if r.least {
			met = *judged >= r.limit
		}
		res.Met = &met
	}
	return res
}

func (r result) verdict() string {
	switch {
	case r.Ours == nil:
		return "not measured"
	case r.Met == nil:
		return "-"
	case *r.Met:
		return "yes"
	}
	return "NO"
}

func (r result) summary() string {
	if r.Ours == nil {
		return r.Why
	}
	s := figure(r.Ours) + " " + r.Unit
	if r.Peer != nil {
		s += ", peer " + figure(r.Peer) + ", ratio " + figure(r.Ratio)
	}
	return s + "; target " + r.Target + ": " + r.verdict()
}

// figure shows a number with three digits that count.
func figure(v *float64) string {
	if v == nil {
		return "-"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Max(math.Abs(*v), 1e-9))))
	return strconv.FormatFloat(*v, 'f', min(max(digits, 0), 4), 64)
}

// percentile gives the p-th percentile of times, in milliseconds.
func percentile(times []time.Duration, p float64) float64 {
	if len(times) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(times))
	at := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return float64(sorted[max(at, 0)]) / float64(time.Millisecond)
}
