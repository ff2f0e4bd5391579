package console

import (
	"errors"
	"testing"
)

// TestFirstRun: who is new gets the tour after the welcome, over the console as it is;
// one key ends it, that is kept, and it is there again when it is asked for.
func TestFirstRun(t *testing.T) {
	keeper := &shelf{}
	inBubbleWith(t, alice, 80, 24, Options{Tour: true, Notice: "This is a demo.", Keeper: keeper}, func(h *harness) {
		h.see("Welcome", "This is a demo.")
		h.keys("enter")
		h.see("Tour 1 of 6", "web-1", "✓ allow", "esc end the tour")
		h.keys("enter", "enter", "enter")
		h.see("Tour 4 of 6", "Nothing waits")
		h.keys("left")
		h.see("Tour 3 of 6", "web-1")
		if keeper.Toured {
			t.Error("kept before its end")
		}
		h.keys("esc")
		h.miss("Tour")
		h.see("enter shell")
		if !keeper.Toured {
			t.Error("the next start shows it again")
		}
		h.keys("enter")
		h.see("mem")
		h.keys(DefaultPrefix, "T")
		h.see("Tour 1 of 6", "web-1")
		h.keys("enter", "enter", "enter", "enter", "enter", "enter")
		h.miss("Tour")
		h.keys("ctrl+p")
		h.typing("tour")
		h.see("the tour: what the console can do")
		h.keys("enter")
		h.see("Tour 1 of 6")
	})
}

// TestTourIsNotKept: where that can't be kept, it is said what follows.
func TestTourIsNotKept(t *testing.T) {
	inBubbleWith(t, alice, 80, 24, Options{Tour: true, Keeper: &shelf{broken: errors.New("disk full")}}, func(h *harness) {
		h.keys("esc")
		h.see("the tour will come again: disk full")
	})
}
