// Package console is TucDesk's full-screen console: the list of targets with
// the verdict of policy for each, the queue of approvals, and terminals in
// tabs.
//
// Its parts: console.go runs it; model.go is the one Bubble Tea model and its
// messages; keys.go sends keys where they belong, opening.go opens, asks and decides, splits.go
// puts terminals side by side (their places are package layout's), casting.go
// types into several of them, reporting.go and lending.go are what their programs may
// ask of the outer terminal, keeping.go is views, layouts and marks, actions.go finds
// actions by name, and frame.go paints.
//
// What it shows are packages below: agents and approvals are views, plain structs that
// draw themselves into a canvas of cells, pane is a terminal and waiting stands where
// there is none yet; dialog lies above a view and sees keys first, and prompts, arrange,
// links, copymode and palette are some; keymap is the keys as data, from which the
// footer, the help and the palette come; toasts is what was said, kept what outlives a
// run; listing asks the backend for lists and verdicts; phrase has the words.
//
// Invariants:
//
//   - A screen that cannot leak: the package reaches no network and no key.
//     It knows backend.Backend, charm libraries, sanitize and pane.
//   - Every text that came from a network is a sanitize.Text when it is
//     drawn, and a terminal's output reaches the screen as clean cells only.
//   - Nothing is said by colour alone, and nothing is claimed that a backend
//     does not say: no verdict reads "no policy", a zero Assurance reads "no
//     policy, not recorded".
//   - No output of a terminal travels in a message; Update never blocks.
//   - An approval is decided with what the approver saw: to its end, and
//     unchanged since. A refusal needs a reason; a high tier is typed.
package console
