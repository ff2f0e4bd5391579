package policy

import (
	"fmt"
	"strings"
	"time"
)

// A window is open while the wall clock of its zone shows a listed day and a
// time from `from` up to, not including, `to`. If `to` is not after `from` the
// window crosses midnight and belongs to the day on which it begins.
//
// It follows from "the wall clock shows": in the night that loses an hour, the
// part of a window inside the lost hour does not exist; in the night that
// repeats an hour, the part inside that hour is open both times.
type window struct {
	days     uint8 // bit time.Weekday
	from, to int   // minutes since midnight, 0 <= from < 1440, 0 < to <= 1440
	zone     *time.Location
}

const dayMinutes = 24 * 60

func (w *window) open(at time.Time) bool {
	local := at.In(w.zone)
	hour, minute, _ := local.Clock()
	now, today := hour*60+minute, local.Weekday()
	if w.from < w.to {
		return w.has(today) && w.from <= now && now < w.to
	}
	yesterday := (today + 6) % 7
	return w.has(today) && w.from <= now || w.has(yesterday) && now < w.to
}

func (w *window) has(day time.Weekday) bool { return w.days&(1<<day) != 0 }

const allDays = 1<<7 - 1

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseDays reads "mon-fri", "sat", "fri-mon" (over the week's end) and lists
// of these with commas.
func parseDays(s string) (uint8, error) {
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

// parseClock reads "HH:MM", up to 24:00, as minutes since midnight.
func parseClock(s string) (int, error) {
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
	if minute > 59 || hour*60+minute > dayMinutes {
		return 0, bad
	}
	return hour*60 + minute, nil
}

// parseZone reads an IANA zone name. "Local" would mean something else on each
// machine and is refused.
func parseZone(s string) (*time.Location, error) {
	if s == "" || s == "Local" {
		return nil, fmt.Errorf("%q is not an IANA zone such as Europe/Berlin or UTC", s)
	}
	zone, err := time.LoadLocation(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not an IANA zone such as Europe/Berlin or UTC", s)
	}
	return zone, nil
}
