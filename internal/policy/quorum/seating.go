package quorum

import (
	"iter"
	"slices"
	"strings"
)

// places has a bit for each part of each step, the first part of the first step in
// the lowest: at most MaxSteps times MaxParts.
type places uint32

func place(step, part int) places { return 1 << (step*MaxParts + part) }

// A voter is somebody who has said yes, and where that can count.
type voter struct {
	id  string
	may places
}

func (n Needs) places(person string, named Named) places {
	var all places
	if person == "" {
		return 0
	}
	for i, s := range n {
		for j, p := range s.Parts {
			if slices.ContainsFunc(p.Approvers, func(a string) bool { return named(person, a) }) {
				all |= place(i, j)
			}
		}
	}
	return all
}

// voters are those of the people who count somewhere. Of people who are alike more
// than could ever be needed are left out.
func (n Needs) voters(people []string, named Named) []voter {
	var out []voter
	seen, alike := map[string]bool{}, map[places]int{}
	for _, id := range people {
		if seen[id] {
			continue
		}
		seen[id] = true
		may := n.places(id, named)
		if may == 0 || alike[may] > MaxPeople { // one more, for the one who asks
			continue
		}
		alike[may]++
		out = append(out, voter{id, may})
	}
	return out
}

// A seating is who counts where, once it is chosen which part counts of each step
// that needs any.
type seating struct {
	choice []int // by step: the part that counts; -1: all
	done   int   // how many of the first steps are complete
	filled int
	by     [][]string
	left   [][]int // by step and part: how many are missing
}

// best gives the seating that completes most of the first steps, and of these the
// one that fills most.
func (n Needs) best(voters []voter) seating {
	best := seating{done: -1}
	for choice := range n.choices() {
		s := n.seat(choice, voters)
		if s.done > best.done || s.done == best.done && s.filled > best.filled {
			best = s
		}
		if best.done == len(n) {
			break
		}
	}
	return best
}

// choices yields each way to choose one part of each step that needs any.
func (n Needs) choices() iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		choice := make([]int, len(n))
		for i, s := range n {
			if !s.Any {
				choice[i] = -1
			}
		}
		for {
			if !yield(slices.Clone(choice)) {
				return
			}
			i := 0
			for ; i < len(n); i++ {
				if choice[i] < 0 {
					continue
				}
				if choice[i]++; choice[i] < len(n[i].Parts) {
					break
				}
				choice[i] = 0
			}
			if i == len(n) {
				return
			}
		}
	}
}

// A seat is one person's place in a part.
type seat struct{ step, part int }

// seat fills as many places as can be, those of the first steps first: a place that
// is filled stays filled when others move (augmenting paths).
func (n Needs) seat(choice []int, voters []voter) seating {
	s := seating{choice: choice, by: make([][]string, len(n)), left: make([][]int, len(n))}
	var seats []seat
	for i, step := range n {
		s.left[i] = make([]int, len(step.Parts))
		for j, p := range step.Parts {
			if choice[i] >= 0 && choice[i] != j {
				continue
			}
			s.left[i][j] = p.Quorum
			for range p.Quorum {
				seats = append(seats, seat{i, j})
			}
		}
	}
	at := make([]int, len(voters)) // the seat of each voter; -1: none
	for v := range at {
		at[v] = -1
	}
	var fill func(k int, tried []bool) bool
	fill = func(k int, tried []bool) bool {
		for v := range voters {
			if tried[v] || voters[v].may&place(seats[k].step, seats[k].part) == 0 {
				continue
			}
			tried[v] = true
			if at[v] < 0 || fill(at[v], tried) {
				at[v] = k
				return true
			}
		}
		return false
	}
	for k := range seats {
		if fill(k, make([]bool, len(voters))) {
			s.filled++
		}
	}
	for v, k := range at {
		if k >= 0 {
			s.by[seats[k].step] = append(s.by[seats[k].step], voters[v].id)
			s.left[seats[k].step][seats[k].part]--
		}
	}
	for s.done < len(n) && !slices.ContainsFunc(s.left[s.done], func(left int) bool { return left > 0 }) {
		s.done++
	}
	return s
}

// waits says what a step of a seating still needs.
func (n Needs) waits(s seating, step int, voters []voter) string {
	if !slices.ContainsFunc(s.left[step], func(left int) bool { return left > 0 }) {
		return ""
	}
	var texts []string
	for j, p := range n[step].Parts {
		left := s.left[step][j]
		if n[step].Any && s.choice[step] != j {
			other := slices.Clone(s.choice)
			other[step] = j
			left = n.seat(other, voters).left[step][j]
		}
		if left > 0 {
			texts = append(texts, Part{Approvers: p.Approvers, Quorum: left}.String())
		}
	}
	return strings.Join(texts, n[step].word())
}
