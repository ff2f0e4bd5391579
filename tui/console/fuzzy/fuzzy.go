// Package fuzzy ranks names by what one types of them. It compares bytes, keeps no
// state and allocates nothing: the list of targets ranks 100,000 names at a key.
package fuzzy

import "strings"

// Best is the rank of a name that is the pattern.
const Best int32 = 100

// Rank returns 0 where the letters of pattern are not in name in this order, and
// more, up to Best, the better it fits. Both are lower case.
// A whole part ranks above letters apart, its beginning above its middle.
func Rank(name, pattern string) int32 {
	if at := strings.Index(name, pattern); at >= 0 {
		s := int32(60)
		switch {
		case len(name) == len(pattern):
			s = Best
		case at == 0:
			s += 20
		case boundary(name[at-1]):
			s += 10
		}
		return s
	}
	score, last := int32(10), -2
	i := 0
	for j := 0; j < len(pattern); j++ {
		c := pattern[j]
		for i < len(name) && name[i] != c {
			i++
		}
		if i == len(name) {
			return 0
		}
		if i == last+1 {
			score += 3
		} else if i == 0 || boundary(name[i-1]) {
			score += 2
		}
		last = i
		i++
	}
	return min(score, 59)
}

func boundary(c byte) bool { return c == '-' || c == '.' || c == '_' || c == '/' || c == ' ' }
