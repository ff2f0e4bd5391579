// Package skiptest is for tests that need what a machine may not have: a program, a right,
// a kernel's feature. It must not be in a program.
package skiptest

import (
	"os"
	"testing"
)

// Missing skips a test aloud: the text names what is missing, and the command that brings it.
// Where TUCDESK_TEST_REQUIRE is "all", as in CI, the test fails instead: there a missing
// tool must not look like a pass.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("TUCDESK_TEST_REQUIRE") == "all" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
