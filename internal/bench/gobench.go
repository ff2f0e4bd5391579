//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// goBench runs one of go's benchmarks, and gives its figures by their units.
func goBench(ctx context.Context, pkg, name, times string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark"+name+"$", "-benchtime", times, "-timeout", "20m",
		"github.com/tucdesk/tucdesk/"+pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line)
		if err != nil || len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		figures := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			if figures[f[i+1]], err = strconv.ParseFloat(f[i], 64); err != nil {
				return nil, fmt.Errorf("%s: %q: %w", name, line, err)
			}
		}
		return figures, nil
	}
	return nil, fmt.Errorf("go test -bench %s ./%s: %w: %s", name, pkg, err, bytes.TrimSpace(out.Bytes()))
}

// runIdle is the benchmark of many sessions that nobody uses.
func (w *workshop) runIdle() (map[string]float64, error) {
	return goBench(w.ctx, "internal/e2e", "Idle", "1x")
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
