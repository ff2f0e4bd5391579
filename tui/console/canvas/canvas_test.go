package canvas

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWrapKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-c 漢é]{0,60}`).Draw(t, "s")
		n := rapid.IntRange(2, 20).Draw(t, "cells")
		if got := strings.Join(wrap(s, n, false), ""); got != s {
			t.Fatalf("exact: %q became %q", s, got)
		}
		squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got := strings.Join(wrap(s, n, true), ""); squeeze(got) != squeeze(s) {
			t.Fatalf("words: %q became %q", s, got)
		}
	})
}
