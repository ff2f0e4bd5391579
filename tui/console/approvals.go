package console

import (
	"fmt"
	"slices"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// approvals is the queue.
type approvals struct {
	able   bool // the backend has approvals
	loaded bool
	err    error
	list   []backend.Approval
	rang   map[backend.ApprovalID]bool // those of the last list that could be decided
	cursor int
	top    int
}

// set takes a new list and says whether something came to decide.
func (q *approvals) set(list []backend.Approval, now time.Time) (fresh bool) {
	q.loaded = true
	current, had := q.current()
	for i := range list {
		refuseLong(&list[i])
	}
	// What waits stands first; the backend's order otherwise.
	slices.SortStableFunc(list, func(a, b backend.Approval) int { return order(a, now) - order(b, now) })
	rang := make(map[backend.ApprovalID]bool)
	for _, a := range list {
		if decidable(a, now) {
			rang[a.ID] = true
			fresh = fresh || !q.rang[a.ID]
		}
	}
	q.list, q.rang = list, rang
	if had {
		if at := slices.IndexFunc(list, func(a backend.Approval) bool { return a.ID == current.ID }); at >= 0 {
			q.cursor = at
		}
	}
	q.move(0)
	return fresh
}

func order(a backend.Approval, now time.Time) int {
	switch {
	case decidable(a, now):
		return 0
	case waits(a, now):
		return 1
	}
	return 2
}

func waits(a backend.Approval, now time.Time) bool {
	return a.State == backend.ApprovalWaiting && (a.AskUntil.IsZero() || now.Before(a.AskUntil))
}

// decidable says whether this member could decide a now.
func decidable(a backend.Approval, now time.Time) bool {
	return a.CanDecide && !a.Mine && waits(a, now)
}

// pending counts what this member could decide now.
func (q *approvals) pending(now time.Time) int {
	n := 0
	for _, a := range q.list {
		if decidable(a, now) {
			n++
		}
	}
	return n
}

func (q *approvals) current() (backend.Approval, bool) {
	if q.cursor >= len(q.list) {
		return backend.Approval{}, false
	}
	return q.list[q.cursor], true
}

func (q *approvals) find(id backend.ApprovalID) (backend.Approval, bool) {
	at := slices.IndexFunc(q.list, func(a backend.Approval) bool { return a.ID == id })
	if at < 0 {
		return backend.Approval{}, false
	}
	return q.list[at], true
}

func (q *approvals) move(by int) {
	q.cursor = max(0, min(q.cursor+by, len(q.list)-1))
}

// stateWord is where an approval stands, for this member.
func stateWord(a backend.Approval, now time.Time) string {
	switch {
	case a.State == backend.ApprovalWaiting && !waits(a, now):
		return "expired"
	case a.State != backend.ApprovalWaiting && a.Mine:
		return "yours: " + knownState(a.State)
	case a.State != backend.ApprovalWaiting:
		return knownState(a.State)
	case a.Mine:
		return "yours: waiting"
	case a.CanDecide:
		return "decide"
	}
	return "not yours"
}

// knownState keeps a state that the backend made up off the screen.
func knownState(s backend.ApprovalState) string {
	switch s {
	case backend.ApprovalApproved, backend.ApprovalDenied, backend.ApprovalExpired, backend.ApprovalUsed, backend.ApprovalWaiting:
		return string(s)
	}
	return "not known"
}

func (q *approvals) draw(c *canvas, area uv.Rectangle, now time.Time) {
	if len(q.list) == 0 {
		q.drawEmpty(c, area)
		return
	}
	height := max(1, area.Dy())
	q.top = max(0, min(q.top, len(q.list)-height))
	if q.cursor < q.top {
		q.top = q.cursor
	}
	if q.cursor >= q.top+height {
		q.top = q.cursor - height + 1
	}
	for y := 0; y < area.Dy() && q.top+y < len(q.list); y++ {
		q.drawRow(c, uv.Rect(area.Min.X, area.Min.Y+y, area.Dx(), 1), q.top+y, now)
	}
}

func (q *approvals) drawRow(c *canvas, area uv.Rectangle, i int, now time.Time) {
	a := q.list[i]
	x, y := area.Min.X, area.Min.Y
	marker := "  "
	if i == q.cursor {
		marker = "> "
	}
	x += c.line(x, y, 2, lit(c.st.bold, marker))
	left, stateCells := leftWord(now, a.AskUntil), 15
	if !waits(a, now) {
		left = ""
	}
	if area.Dx() < 60 {
		stateCells = 9
	}
	c.line(x, y, 7, lit(c.st.plain, left))
	x += 7
	style := c.st.faint
	if decidable(a, now) {
		style = c.st.hold
	}
	c.line(x, y, stateCells, lit(style, stateWord(a, now)))
	x += stateCells + 1
	spans := []span{}
	if a.Tier != "" && a.Tier != "default" {
		spans = append(spans, lit(c.st.warn, "["), span{c.st.warn, brief(a.Tier)}, lit(c.st.warn, "] "))
	}
	spans = append(spans,
		span{c.st.plain, brief(a.Operator)}, lit(c.st.faint, " on "),
		span{c.st.bold, brief(a.Target)}, lit(c.st.faint, ": "),
		span{c.st.plain, briefRequest(a.Kind, a.Argv)})
	c.line(x, y, area.Max.X-x, spans...)
	if i == q.cursor {
		c.restyle(area, uv.AttrReverse)
	}
}

func (q *approvals) drawEmpty(c *canvas, area uv.Rectangle) {
	var paras []para
	switch {
	case !q.able:
		paras = []para{
			{"", sanitize.Literal("This backend has no approvals."), c.st.bold},
			{"", sanitize.Literal("a goes to the targets."), c.st.plain},
		}
	case q.err != nil:
		paras = []para{
			{"", sanitize.Literal("The queue did not come."), c.st.warn},
			{"", errorText(q.err), c.st.plain},
			{"", sanitize.Literal("r tries again."), c.st.plain},
		}
	case !q.loaded:
		paras = []para{{"", sanitize.Literal("Asking for the approvals ..."), c.st.faint}}
	default:
		paras = []para{
			{"", sanitize.Literal("Nothing waits for approval."), c.st.bold},
			{"", sanitize.Literal("When something does, the tab above counts it and the bell rings. a goes to the targets."), c.st.plain},
		}
	}
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.rows(inside, layout(paras, max(1, inside.Dx())), 0)
}

// requestParas is all of an approval, the command first. Its last line is the
// end that an approver must have seen.
func requestParas(st *styles, a backend.Approval, now time.Time) []para {
	text := func(label, s string) para {
		if s == "" {
			return para{label, sanitize.Literal("not said"), st.faint}
		}
		return para{label, sanitize.Clean(s), st.plain}
	}
	paras := []para{
		text("Operator", a.Operator),
		text("Target", a.Target),
	}
	paras = append(paras, requestPara(st.bold, a.Kind, a.Argv))
	if len(a.Argv) > 0 {
		paras = append(paras, para{"Words", sanitize.Clean(fmt.Sprintf("%d", len(a.Argv))), st.plain})
	}
	as := a.As
	if as == "" {
		as = "the target's login user"
	}
	paras = append(paras, text("As user", as))
	for i, line := range sanitize.Block(a.Reason) {
		label := " "
		if i == 0 {
			label = "Reason"
		}
		paras = append(paras, para{label, line, st.plain})
	}
	if a.Reason == "" {
		paras = append(paras, text("Reason", ""))
	}
	paras = append(paras, text("Tier", a.Tier), text("Folder", a.Cwd))
	for _, e := range a.Env {
		paras = append(paras, text("Env", e))
	}
	if a.Stdin != "" {
		paras = append(paras, text("Stdin", a.Stdin))
	}
	if !a.Asked.IsZero() {
		paras = append(paras, text("Asked", a.Asked.UTC().Format("15:04:05")+" UTC"))
	}
	left := "time is over"
	if waits(a, now) {
		left = leftWord(now, a.AskUntil)
	}
	paras = append(paras, text("Time left", left))
	if a.Quorum > 0 {
		paras = append(paras, text("Approved", fmt.Sprintf("%d of %d", a.Approved, a.Quorum)))
	}
	paras = append(paras, para{"State", sanitize.Literal(stateWord(a, now)), st.bold})
	if a.WhyNot != "" && !decidable(a, now) {
		paras = append(paras, text("Why not", a.WhyNot))
	}
	return paras
}

// maxRequest bounds an approval that can be decided here, in bytes: the limit
// of the signed envelope that carries one.
const maxRequest = 64 << 10

// refuseLong keeps what nobody could read to its end from being decided, and
// from being drawn.
func refuseLong(a *backend.Approval) {
	size := 0
	for _, s := range slices.Concat(a.Argv, a.Env, []string{a.Target, a.Operator, a.Kind, a.As, a.Cwd, a.Tier, a.Reason, a.Stdin, a.WhyNot}) {
		size += len(s) + 1
	}
	if size <= maxRequest {
		return
	}
	*a = backend.Approval{
		ID: a.ID, Target: brief(a.Target).String(), Operator: brief(a.Operator).String(), Kind: brief(a.Kind).String(),
		State: a.State, Asked: a.Asked, AskUntil: a.AskUntil, Mine: a.Mine,
		WhyNot: "it is too long to be read, so it can't be decided here",
	}
}

// sameRequest says whether two views of an approval ask for the same.
func sameRequest(a, b backend.Approval) bool {
	return a.ID == b.ID && a.Target == b.Target && a.Operator == b.Operator && a.Kind == b.Kind &&
		a.As == b.As && a.Cwd == b.Cwd && a.Tier == b.Tier && a.Reason == b.Reason && a.Stdin == b.Stdin &&
		slices.Equal(a.Argv, b.Argv) && slices.Equal(a.Env, b.Env)
}

// typed says whether approving a needs the target's name: everything but the
// lower tiers does, an unknown tier too.
func typed(a backend.Approval) bool {
	switch a.Tier {
	case "", "default", "medium":
		return false
	}
	return true
}
