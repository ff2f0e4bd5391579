// Package line is shells that go by lines: the gate levels that need no kernel.
//
// A [Shell] (level line) is the agent's own. It reads a line, has it decided, and runs
// it by itself: a plain command as its argument list, everything else as one line of
// sh. What runs has no terminal and no input, and nothing of it is left when it has
// ended. Only the folder goes on to the next line.
//
// A [Teller] (level advisory) is a hook in a person's own bash or zsh, which tells each
// line as it begins to run. It decides nothing, and whoever does not want it takes it
// out.
//
// Invariants:
//   - no line runs in a Shell before Config.Allow has said yes to exactly its words and
//     folder; what is typed meanwhile is a later line, or ends the wait;
//   - a Shell's programs can't read what is typed: there is no way from a line that was
//     decided to one that was not, but through what the programs themselves do;
//   - what a Teller reads is somebody's claim, bounded in size, and never more.
//
// Package gate's README says what each level stops. It must not import agent/host,
// agent/host/live or internal/policy but for internal/policy/command.
package line
