// Package window says when a time window of a policy is open.
//
// Purpose: one meaning of "mon-fri from 09:00 to 18:00 in Berlin" for deciding, for
// advice and for lint, also in the nights in which clocks change.
//
// Invariants: a Window does not change. The zone database is in the binary, so
// that a window means the same on a host that has none.
//
// It must not import any package of this module.
package window

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // windows mean the same on hosts without a zone database
)

// A Window is open while the wall clock of its zone shows a listed day and a
// time from `from` up to, not including, `to`. If `to` is not after `from` the
// window crosses midnight and belongs to the day on which it begins.
//
// It follows from "the wall clock shows": in the night that loses an hour, the
// part of a window inside the lost hour does not exist; in the night that
// repeats an hour, the part inside that hour is open both times.
type Window struct {
	Days     uint8 // bit time.Weekday
	From, To int   // minutes since midnight, 0 <= From < DayMinutes, 0 < To <= DayMinutes
	Zone     *time.Location
}

// DayMinutes is a whole day.
const DayMinutes = 24 * 60

// AllDays is every day of the week.
const AllDays = 1<<7 - 1

// Open says whether the window is open.
func (w *Window) Open(at time.Time) bool {
	local := at.In(w.Zone)
	hour, minute, _ := local.Clock()
	now, today := hour*60+minute, local.Weekday()
	if w.From < w.To {
		return w.has(today) && w.From <= now && now < w.To
	}
	yesterday := (today + 6) % 7
	return w.has(today) && w.From <= now || w.has(yesterday) && now < w.To
}

func (w *Window) has(day time.Weekday) bool { return w.Days&(1<<day) != 0 }

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseDays reads "mon-fri", "sat", "fri-mon" (over the week's end) and lists
// of these with commas.
func ParseDays(s string) (uint8, error) {
	var days uint8
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, last := dayIndex(from), dayIndex(to)
		if !isRange {
			last = first
		}
		if first < 0 || last < 0 {
			return 0, fmt.Errorf("%q is not a day or a range of days such as mon-fri", part)
		}
		for d := first; ; d = (d + 1) % 7 {
			days |= 1 << d
			if d == last {
				break
			}
		}
	}
	return days, nil
}

func dayIndex(s string) int {
	for i, name := range dayNames {
		if s == name {
			return i
		}
	}
	return -1
}

// ParseClock reads "HH:MM", up to 24:00, as minutes since midnight.
func ParseClock(s string) (int, error) {
	bad := fmt.Errorf("%q is not a time of day such as 09:30", s)
	if len(s) != 5 || s[2] != ':' {
		return 0, bad
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, bad
		}
	}
	hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	if minute > 59 || hour*60+minute > DayMinutes {
		return 0, bad
	}
	return hour*60 + minute, nil
}

// ParseZone reads an IANA zone name. "Local" would mean something else on each
// machine and is refused.
func ParseZone(s string) (*time.Location, error) {
	if s == "" || s == "Local" {
		return nil, fmt.Errorf("%q is not an IANA zone such as Europe/Berlin or UTC", s)
	}
	zone, err := time.LoadLocation(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not an IANA zone such as Europe/Berlin or UTC", s)
	}
	return zone, nil
}

// WholeDay says whether it is open from midnight to midnight.
func (w *Window) WholeDay() bool { return w.From == 0 && w.To == DayMinutes }

// Edges returns the instants in the eight days after a time at which the window may
// open or close, in order. Between two of them it is open all the time or closed
// all the time, but for the nights in which clocks change.
func (w *Window) Edges(after time.Time) []time.Time {
	var edges []time.Time
	y, m, d := after.In(w.Zone).Date()
	for day := -1; day <= 8; day++ {
		for _, minute := range []int{w.From, w.To} {
			if at := time.Date(y, m, d+day, 0, minute, 0, 0, w.Zone); at.After(after) {
				edges = append(edges, at)
			}
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	return edges
}

// Always says whether one of the windows is open at any time. Windows of several
// zones are compared over one week without clock changes, to the minute.
func Always(windows []Window) bool {
	start := time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)
	for minute := range 7 * DayMinutes {
		at := start.Add(time.Duration(minute) * time.Minute)
		if !slices.ContainsFunc(windows, func(w Window) bool { return w.Open(at) }) {
			return false
		}
	}
	return true
}
