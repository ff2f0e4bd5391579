package program

import (
	"os"
	"strconv"
	"testing"
)

// TestStarts starts and ends the console again and again: 300 times in a row in a long run
// (TUCDESK_TEST_STEPS=300). Each shows its first frame and gives the terminal back.
func TestStarts(t *testing.T) {
	steps, _ := strconv.Atoi(os.Getenv("TUCDESK_TEST_STEPS"))
	for range max(10, min(steps, 300)) {
		w := start(t, &echo{})
		w.see("<init>")
		w.typing("q")
		if err := w.ended(); err != nil {
			t.Fatal(err)
		}
	}
}
