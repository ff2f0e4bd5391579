//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := 100; i > 0; i-- {
		times = append(times, time.Duration(i)*time.Millisecond)
	}
	for p, want := range map[float64]float64{50: 50, 99: 99, 100: 100, 1: 1, 0: 1} {
		if got := percentile(times, p); got != want {
			t.Errorf("percentile %g is %g, want %g", p, got, want)
		}
	}
	if got := percentile(times[:1], 99); got != 100 {
		t.Errorf("of one: %g", got)
	}
}

func TestResults(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		b      bound
		f      figures
		ratio  float64
		met    *bool
		target string
	}{
		{atMost(.5), figures{ours: 1, peer: 2}, .5, &yes, "<= 0.5x peer"},
		{atMost(.5), figures{ours: 1.1, peer: 2}, .55, &no, "<= 0.5x peer"},
		{atLeast(.8), figures{ours: 8, peer: 10}, .8, &yes, ">= 0.8x peer"},
		{atLeast(.8), figures{ours: 7, peer: 10}, .7, &no, ">= 0.8x peer"},
		{within(5), figures{ours: 5, peer: 1}, 5, &yes, "<= 5 ms"},
		{within(5), figures{ours: 6}, 0, &no, "<= 5 ms"},
		{reported, figures{ours: 6, peer: 2}, 3, nil, "-"},
	} {
		r := row{name: "x", unit: "ms", peer: "peer", bound: tt.b}
		got := r.result(tt.f, nil)
		if got.Target != tt.target || (got.Met == nil) != (tt.met == nil) || got.Met != nil && *got.Met != *tt.met {
			t.Errorf("%v with %v: %s", tt.b, tt.f, got.summary())
		}
		if tt.f.peer > 0 && *got.Ratio != tt.ratio || tt.f.peer == 0 && got.Ratio != nil {
			t.Errorf("%v with %v: ratio %s", tt.b, tt.f, figure(got.Ratio))
		}
		if got = r.result(figures{}, errors.New("no peer")); got.Ours != nil || got.Met != nil || got.Why != "not measured: no peer" {
			t.Errorf("an error gives %+v", got)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0000", 1434.2: "1434", 25.06: "25.1", 1.096: "1.10", .0153: "0.0153", 99.96: "100.0"} {
		if got := figure(&v); got != want {
			t.Errorf("%g is shown as %s, want %s", v, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"--list"}, &out, &errs); code != 0 || strings.Count(out.String(), "\n") != len(rows()) {
		t.Errorf("%d: %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	if code := run([]string{"--list", "--only", "bulk-udp,idle"}, &out, &errs); code != 0 || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("%d: %s%s", code, out.String(), errs.String())
	}
	for _, args := range [][]string{{"--only", "nothing"}, {"--only", "bulk,"}, {"bulk"}, {"--no-such"}} {
		if code := run(args, &out, &errs); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	// One row that takes no time, in this process.
	out.Reset()
	if code := run([]string{"--json", "--only", "console-scrollback"}, &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	var got []map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 1 || got[0]["name"] != "console-scrollback" || got[0]["ours"] == nil {
		t.Errorf("%v: %s", err, out.String())
	}
	names := map[string]bool{}
	for _, r := range rows() {
		if names[r.name] {
			t.Errorf("%s is there twice", r.name)
		}
		names[r.name] = true
	}
}

func TestNeedSaysHowToInstall(t *testing.T) {
	err := need(map[string]string{"no-such-program": "some-package"})
	if err == nil || !strings.Contains(err.Error(), "apt-get install --no-install-recommends some-package") {
		t.Error(err)
	}
}

func TestOwnProcess(t *testing.T) {
	bytes, err := memory(os.Getpid())
	if err != nil || bytes < 1e6 {
		t.Errorf("%g bytes in RAM, %v", bytes, err)
	}
	if _, err := cpu(os.Getpid()); err != nil {
		t.Error(err)
	}
	if all := family(os.Getpid()); len(all) < 1 || all[0] != os.Getpid() {
		t.Error(all)
	}
	if _, err := cpu(-1); err == nil {
		t.Error("no process has a time")
	}
}
