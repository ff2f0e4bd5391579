package output

import (
	"testing"
	"time"
)

func TestParseLength(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "12h": 12 * time.Hour, "90m": 90 * time.Minute,
		"": 0, "d": 0, "-1d": 0, "0d": 0, "1.5d": 0, "1000000d": 0, "30": 0, "99999999999999999999d": 0,
	} {
		got, err := ParseLength(text)
		if (err == nil) != (want > 0) || err == nil && got != want {
			t.Errorf("%q: %s %v, want %s", text, got, err, want)
		}
	}
}
