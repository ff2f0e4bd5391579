package policy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/window"
)

// parseWindow reads the `when` of a rule with one window.
func parseWindow(t testing.TB, text string) window.Window {
	t.Helper()
	return mustParse(t, entry("    when: ["+text+"]")).allow[0].when[0]
}

func TestWindows(t *testing.T) {
	tests := []struct {
		window string
		at     string // RFC 3339
		want   bool
	}{
		// The ends: from is in, to is out.
		{`{days: mon-fri, from: "09:00", to: "18:00", zone: Europe/Berlin}`, "2026-11-23T08:59:59+01:00", false},
		{`{days: mon-fri, from: "09:00", to: "18:00", zone: Europe/Berlin}`, "2026-11-23T09:00:00+01:00", true},
		{`{days: mon-fri, from: "09:00", to: "18:00", zone: Europe/Berlin}`, "2026-11-23T17:59:59+01:00", true},
		{`{days: mon-fri, from: "09:00", to: "18:00", zone: Europe/Berlin}`, "2026-11-23T18:00:00+01:00", false},
		{`{days: mon-fri, from: "09:00", to: "18:00", zone: Europe/Berlin}`, "2026-11-22T12:00:00+01:00", false},
		// The zone of the window counts, not that of the instant.
		{`{days: mon, from: "09:00", to: "18:00", zone: Europe/Berlin}`, "2026-11-23T08:30:00Z", true},
		{`{days: mon, from: "09:00", to: "18:00", zone: Asia/Tokyo}`, "2026-11-23T08:59:00Z", true},
		{`{days: mon, from: "09:00", to: "18:00", zone: Asia/Tokyo}`, "2026-11-22T23:59:00Z", false},
		{`{days: mon, from: "08:00", to: "18:00", zone: Asia/Tokyo}`, "2026-11-22T23:59:00Z", true},
		// Days: lists, ranges over the end of the week, whole days.
		{`{days: "sat,sun", zone: UTC}`, "2026-11-22T00:00:00Z", true},
		{`{days: "sat, mon-tue", zone: UTC}`, "2026-11-22T00:00:00Z", false},
		{`{days: fri-mon, zone: UTC}`, "2026-11-22T23:59:59Z", true},
		{`{days: fri-mon, zone: UTC}`, "2026-11-24T00:00:00Z", false},
		{`{days: mon-mon, zone: UTC}`, "2026-11-24T00:00:00Z", false},
		{`{zone: UTC}`, "2026-11-24T12:00:00Z", true},
		{`{from: "00:00", to: "24:00", zone: UTC}`, "2026-11-24T23:59:59Z", true},
		{`{days: mon, from: "22:00", to: "24:00", zone: UTC}`, "2026-11-23T23:59:59Z", true},
		{`{days: mon, from: "22:00", to: "24:00", zone: UTC}`, "2026-11-24T00:00:00Z", false},
		// Over midnight: the window belongs to the day on which it begins.
		{`{days: fri, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-20T21:59:59Z", false},
		{`{days: fri, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-20T22:00:00Z", true},
		{`{days: fri, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-21T05:59:59Z", true},
		{`{days: fri, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-21T06:00:00Z", false},
		{`{days: fri, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-20T05:00:00Z", false},
		{`{days: sat, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-22T05:00:00Z", true},
		{`{days: sun, from: "22:00", to: "06:00", zone: UTC}`, "2026-11-22T05:00:00Z", false},
		// A gap: Berlin, 2026-03-29, from 02:00 to 03:00 the clock shows nothing.
		// A window inside the gap is never open; one that ends in it ends at the jump.
		{`{from: "02:15", to: "02:45", zone: Europe/Berlin}`, "2026-03-29T01:59:59+01:00", false},
		{`{from: "02:15", to: "02:45", zone: Europe/Berlin}`, "2026-03-29T03:00:00+02:00", false},
		{`{from: "01:30", to: "02:30", zone: Europe/Berlin}`, "2026-03-29T01:59:59+01:00", true},
		{`{from: "01:30", to: "02:30", zone: Europe/Berlin}`, "2026-03-29T03:00:00+02:00", false},
		{`{from: "02:30", to: "04:00", zone: Europe/Berlin}`, "2026-03-29T01:59:59+01:00", false},
		{`{from: "02:30", to: "04:00", zone: Europe/Berlin}`, "2026-03-29T03:00:00+02:00", true},
		{`{days: sat, from: "23:00", to: "02:30", zone: Europe/Berlin}`, "2026-03-29T03:00:00+02:00", false},
		// An overlap: Berlin, 2026-10-25, 02:00 to 03:00 is shown twice.
		// What lies inside is open both times.
		{`{from: "02:15", to: "02:45", zone: Europe/Berlin}`, "2026-10-25T02:30:00+02:00", true},
		{`{from: "02:15", to: "02:45", zone: Europe/Berlin}`, "2026-10-25T02:50:00+02:00", false},
		{`{from: "02:15", to: "02:45", zone: Europe/Berlin}`, "2026-10-25T02:00:00+01:00", false},
		{`{from: "02:15", to: "02:45", zone: Europe/Berlin}`, "2026-10-25T02:30:00+01:00", true},
		{`{from: "01:00", to: "02:30", zone: Europe/Berlin}`, "2026-10-25T02:40:00+02:00", false},
		{`{from: "01:00", to: "02:30", zone: Europe/Berlin}`, "2026-10-25T02:10:00+01:00", true},
		{`{days: sat, from: "23:00", to: "02:30", zone: Europe/Berlin}`, "2026-10-25T02:10:00+01:00", true},
		// A gap at midnight: Santiago, 2026-09-06, from 00:00 to 01:00.
		{`{days: sat, from: "23:00", to: "24:00", zone: America/Santiago}`, "2026-09-05T23:59:59-04:00", true},
		{`{days: sat, from: "23:00", to: "00:30", zone: America/Santiago}`, "2026-09-06T01:00:00-03:00", false},
		{`{days: sun, from: "00:00", to: "01:00", zone: America/Santiago}`, "2026-09-06T01:00:00-03:00", false},
	}
	for _, tt := range tests {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		w := parseWindow(t, tt.window)
		if got := w.Open(at); got != tt.want {
			t.Errorf("%s at %s: open is %v", tt.window, tt.at, got)
		}
	}
}

// The zone database must be in the binary: a host may have none. That can't be
// seen at run time on a host that has one, so this looks at the import.
func TestZonesAreEmbedded(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "window/window.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"time/tzdata"` }) {
		t.Error("window.go does not import time/tzdata")
	}
}

// Over a year, a window and the window of the other times must divide it.
func TestWindowsDivideTime(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "UTC"} {
		day := parseWindow(t, fmt.Sprintf(`{from: "02:10", to: "22:30", zone: %s}`, zone))
		night := parseWindow(t, fmt.Sprintf(`{from: "22:30", to: "02:10", zone: %s}`, zone))
		for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() == 2026; at = at.Add(5 * time.Minute) {
			if day.Open(at) == night.Open(at) {
				t.Fatalf("%s: day and night are both %v at %s", zone, day.Open(at), at)
			}
		}
	}
}
