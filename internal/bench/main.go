//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "measure these rows only: names, separated by commas; a name's beginning will do")
	list := flags.Bool("list", false, "print the rows and their targets, and measure nothing")
	asJSON := flags.Bool("json", false, "print [{name, ours, peer, unit, ratio, target, met, why}]")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	chosen, err := choose(rows(), *only)
	if err != nil || flags.NArg() > 0 {
		if err == nil {
			err = fmt.Errorf("unexpected %q; rows are named with --only", flags.Arg(0))
		}
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	if *list {
		printList(stdout, chosen)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w, err := newWorkshop(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	defer w.close()
	results := measure(w, chosen)
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "bench: interrupted")
		return 130
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(results)
	} else {
		err = printTable(stdout, results)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// choose gives the rows whose name begins with one of the names.
func choose(all []row, names string) ([]row, error) {
	if names == "" {
		return all, nil
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		found := false
		for _, r := range all {
			if name != "" && strings.HasPrefix(r.name, name) {
				wanted[r.name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("no row's name begins with %q; --list prints them", name)
		}
	}
	var chosen []row
	for _, r := range all {
		if wanted[r.name] {
			chosen = append(chosen, r)
		}
	}
	return chosen, nil
}

// measure runs the rows one after the other. What can't be measured says why.
func measure(w *workshop, chosen []row) []result {
	results := make([]result, 0, len(chosen))
	for i, r := range chosen {
		if w.ctx.Err() != nil {
			break
		}
		w.say("[%d/%d] %s: %s", i+1, len(chosen), r.name, r.doc)
		begin := time.Now()
		f, err := r.run(w)
		res := r.result(f, err)
		w.say("[%d/%d] %s: %s (%.0f s)", i+1, len(chosen), r.name, res.summary(), time.Since(begin).Seconds())
		results = append(results, res)
	}
	return results
}

func printList(out io.Writer, rows []row) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.name, r.target(), r.doc)
	}
	t.Flush()
}

func printTable(out io.Writer, results []result) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROW\tOURS\tPEER\tUNIT\tRATIO\tTARGET\tMET")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, figure(r.Ours), figure(r.Peer), r.Unit, figure(r.Ratio), r.Target, r.verdict())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if r.Why != "" {
			if _, err := fmt.Fprintf(out, "%s: %s\n", r.Name, r.Why); err != nil {
				return err
			}
		}
	}
	return nil
}
