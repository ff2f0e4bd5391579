package host

import (
	"strings"
	"testing"
)

// A command that prints more than policy allows is ended, and is told why; what fits
// arrives.
func TestMaxOutput(t *testing.T) {
	w := newWorld(t)
	w.setPolicy(string(policyDoc(w)) + "max_output: 1\n")
	w.start()
	e := w.try(attempt{argv: []string{"head", "-c", "1048576", "/dev/zero"}})
	if len(e.stdout) != 1<<20 || e.exit.Code != 0 || e.exit.Reason != "" {
		t.Errorf("as much as it may: %d bytes, %+v", len(e.stdout), e.exit)
	}
	e = w.try(attempt{argv: []string{"sh", "-c", "head -c 600000 /dev/zero >&2; exec cat /dev/zero"}})
	if n := len(e.stdout) + len(e.stderr); n != 1<<20 || e.exit.Code == 0 || !strings.Contains(e.exit.Reason, "max_output") {
		t.Errorf("more than it may: %d bytes, %+v", n, e.exit)
	}
}
