package backend

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestCatch: a panic of what Go started is told to who catches, and ends the process where
// nobody does.
func TestCatch(t *testing.T) {
	if os.Getenv("TUCDESK_TEST_PANIC") != "" {
		Catch(func(any) {})() // released again
		Go(func() { panic("nobody hears of it") })
		select {}
	}
	heard := make(chan any, 1)
	release := Catch(func(v any) { heard <- v })
	Go(func() { panic("heard") })
	if v := <-heard; v != "heard" {
		t.Errorf("caught %v", v)
	}
	second := Catch(func(v any) { heard <- "second" })
	release() // not its own any more
	Go(func() { panic("again") })
	if v := <-heard; v != "second" {
		t.Errorf("caught %v", v)
	}
	second()
	alone := exec.Command(os.Args[0], "-test.run=^TestCatch$")
	alone.Env = append(os.Environ(), "TUCDESK_TEST_PANIC=1")
	if out, err := alone.CombinedOutput(); err == nil || !strings.Contains(string(out), "panic: nobody hears of it") {
		t.Errorf("it went on: %v\n%s", err, out)
	}
}
