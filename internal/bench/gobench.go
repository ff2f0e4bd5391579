//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// goBench runs one of go's benchmarks, and gives the figures of each of its parts by
// their units.
func goBench(ctx context.Context, pkg, name, times string) (map[string]map[string]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark"+name+"$", "-benchtime", times, "-timeout", "20m",
		"github.com/tucdesk/tucdesk/"+pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed := func(err error) error {
		return fmt.Errorf("go test -bench %s ./%s: %w: %s", name, pkg, err, bytes.TrimSpace(out.Bytes()))
	}
	if err := cmd.Run(); err != nil {
		return nil, failed(err)
	}
	runs := map[string]map[string]float64{}
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		figures := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			var err error
			if figures[f[i+1]], err = strconv.ParseFloat(f[i], 64); err != nil {
				return nil, failed(err)
			}
		}
		// The name ends in the number of processors.
		part, _, _ := strings.Cut(strings.TrimPrefix(f[0], "Benchmark"+name), "-"+strconv.Itoa(runtime.GOMAXPROCS(0)))
		runs[strings.TrimPrefix(part, "/")] = figures
	}
	if len(runs) == 0 {
		return nil, failed(errors.New("it prints no figures"))
	}
	return runs, nil
}

// runIdle is the benchmark of many sessions that nobody uses.
func (w *workshop) runIdle() (map[string]float64, error) {
	runs, err := goBench(w.ctx, "internal/e2e", "Idle", "1x")
	return runs[""], err
}

func idle(unit string) func(*workshop) (figures, error) {
	return func(w *workshop) (figures, error) {
		all, err := w.idle()
		if err != nil {
			return figures{}, err
		}
		v, ok := all[unit]
		if !ok {
			return figures{}, fmt.Errorf("the benchmark does not report %s", unit)
		}
		return figures{ours: v}, nil
	}
}

// gate compares one benchmark of the gate with and without it.
func gate(name string) func(*workshop) (figures, error) {
	return func(w *workshop) (figures, error) {
		runs, err := goBench(w.ctx, "agent/host/gate", name, "5x")
		if err != nil {
			return figures{}, err
		}
		return figures{ours: runs["gated"]["ns/op"] / 1e9, peer: runs["bare"]["ns/op"] / 1e9}, nil
	}
}
