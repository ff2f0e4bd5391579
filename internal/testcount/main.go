// Testcount reads the output of go test -json and ends it with one line:
// how many tests passed, failed and were skipped. Of packages that pass it
// prints one line, of tests that fail everything they said.
//
// It exits with 1 when a test or a build failed, when nothing ran, and, where
// TUCDESK_TEST_REQUIRE is "all", also when a test was skipped: there a missing
// tool must not look like a pass.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// counts is the tally of one run. Subtests count as tests.
type counts struct {
	passed, failed, skipped int
	broken                  int // packages that failed outside any test
}

func main() {
	c, err := count(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	if !c.ok(os.Getenv("TUCDESK_TEST_REQUIRE") == "all") {
		os.Exit(1)
	}
}

// ok reports whether the run may be called a success.
func (c counts) ok(requireAll bool) bool {
	return c.failed == 0 && c.broken == 0 && c.passed > 0 && (c.skipped == 0 || !requireAll)
}

// count reads events from in and reports to out what a reader needs.
func count(in io.Reader, out io.Writer) (counts, error) {
	var c counts
	said := make(map[[2]string]*strings.Builder) // output of tests that are under way
	failedIn := make(map[string]bool)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // go's own errors are plain text
			continue
		}
		at := [2]string{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if said[at] == nil {
				said[at] = new(strings.Builder)
			}
			said[at].WriteString(e.Output)
		case "pass", "fail", "skip":
			c.tally(e, failedIn)
			if e.Action == "fail" || e.Action == "skip" && e.Test != "" {
				fmt.Fprint(out, said[at])
			} else if e.Test == "" {
				fmt.Fprintf(out, "%-5s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
			}
			delete(said, at)
		}
	}
	// What never ended was cut off by a panic or a time-out.
	for at, text := range said {
		if at[1] != "" {
			c.failed++
			fmt.Fprintf(out, "%s %s did not end\n%s", at[0], at[1], text)
		}
	}
	return c, lines.Err()
}

func (c *counts) tally(e event, failedIn map[string]bool) {
	switch {
	case e.Test == "":
		if e.Action == "fail" && !failedIn[e.Package] {
			c.broken++
		}
	case e.Action == "pass":
		c.passed++
	case e.Action == "skip":
		c.skipped++
	default:
		c.failed++
		failedIn[e.Package] = true
	}
}
