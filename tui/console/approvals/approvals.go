// Package approvals is the console's queue of what waits for people, and the
// dialog in which one of it is decided: read to its end, unchanged since, with a
// reason for a no, and typed for a high tier.
package approvals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/together"
)

var (
	errNoApprovals = errors.New("this backend has no approvals")
	errNoPlans     = errors.New("this backend can't decide several requests as one")
)

// A View is the queue of approvals.
type View struct {
	Able   bool         // the backend has approvals
	Keys   *keymap.Keys // for hints
	loaded bool
	Err    error
	List   []backend.Approval          // of a plan, one
	plans  map[string]together.Plan    // all of each
	rang   map[backend.ApprovalID]bool // those of the last list that could be decided
	cursor int
	top    int
}

// Set takes a new list and says whether something came to decide.
func (q *View) Set(list []backend.Approval, now time.Time) (fresh bool) {
	q.loaded = true
	current, had := q.Current()
	for i := range list {
		refuseLong(&list[i])
	}
	// What waits stands first; the backend's order otherwise.
	slices.SortStableFunc(list, func(a, b backend.Approval) int { return order(a, now) - order(b, now) })
	q.plans = map[string]together.Plan{}
	list = slices.DeleteFunc(list, func(a backend.Approval) bool {
		if a.Plan == "" {
			return false
		}
		q.plans[a.Plan] = append(q.plans[a.Plan], a)
		return len(q.plans[a.Plan]) > 1
	})
	rang := make(map[backend.ApprovalID]bool)
	for _, a := range list {
		if awaits(a, now) {
			rang[a.ID] = true
			fresh = fresh || !q.rang[a.ID]
		}
	}
	q.List, q.rang = list, rang
	if had {
		if at := slices.IndexFunc(list, func(a backend.Approval) bool { return a.ID == current.ID }); at >= 0 {
			q.cursor = at
		}
	}
	q.Move(0)
	return fresh
}

func order(a backend.Approval, now time.Time) int {
	switch {
	case awaits(a, now):
		return 0
	case waits(a, now):
		return 1
	}
	return 2
}

func waits(a backend.Approval, now time.Time) bool {
	return a.State == backend.ApprovalWaiting && (a.AskUntil.IsZero() || now.Before(a.AskUntil))
}

// Decidable says whether this member could decide a now.
func Decidable(a backend.Approval, now time.Time) bool {
	return a.CanDecide && !a.Mine && waits(a, now)
}

// awaits says whether a is this member's to decide, no step before it being open.
func awaits(a backend.Approval, now time.Time) bool { return Decidable(a, now) && a.Turn == "" }

// Pending counts what waits for this member's decision now.
func (q *View) Pending(now time.Time) int {
	n := 0
	for _, a := range q.List {
		if awaits(a, now) {
			n++
		}
	}
	return n
}

// Current is the approval under the cursor.
func (q *View) Current() (backend.Approval, bool) {
	if q.cursor >= len(q.List) {
		return backend.Approval{}, false
	}
	return q.List[q.cursor], true
}

// Find gives the approval of an id, if the queue has it.
func (q *View) Find(id backend.ApprovalID) (backend.Approval, bool) {
	for _, a := range q.List {
		for _, a := range q.Together(a) {
			if a.ID == id {
				return a, true
			}
		}
	}
	return backend.Approval{}, false
}

// Together gives all that was asked for together with a, and a.
func (q *View) Together(a backend.Approval) together.Plan {
	if p := q.plans[a.Plan]; p != nil {
		return p
	}
	return together.Plan{a}
}

// Open gives the dialog that shows an approval of the queue, with all that was asked for
// together with it.
func (q *View) Open(a backend.Approval) *Request {
	return &Request{Seen: q.Together(a), Hints: q.Keys}
}

// Update has a dialog show its request as the queue has it now.
func (q *View) Update(r *Request) {
	if a, ok := q.Find(r.Seen[0].ID); ok {
		r.Update(q.Together(a))
		return
	}
	for i := range r.Seen {
		r.Seen[i].CanDecide, r.Seen[i].WhyNot = false, "it is no longer in the queue"
	}
}

// Unchanged reports whether the queue still has what was read.
func (q *View) Unchanged(seen together.Plan) bool {
	a, ok := q.Find(seen[0].ID)
	return ok && slices.EqualFunc(q.Together(a), seen, same)
}

// Decide sends a decision about what was read: about a plan, one for all of it.
func Decide(ctx context.Context, b backend.Backend, d dialog.DoDecide) error {
	if d.Seen.IsOne() {
		ap, ok := backend.As[backend.Approver](b)
		if !ok {
			return errNoApprovals
		}
		return ap.Decide(ctx, d.Seen[0].ID, d.Decision)
	}
	ap, ok := backend.As[backend.PlanApprover](b)
	if !ok {
		return errNoPlans
	}
	ids := make([]backend.ApprovalID, len(d.Seen))
	for i, a := range d.Seen {
		ids[i] = a.ID
	}
	n, err := ap.DecideTogether(ctx, ids, d.Decision)
	if err != nil && n > 0 {
		return fmt.Errorf("%d of %d requests were decided, then: %w", n, len(ids), err)
	}
	return err
}

// Move moves the cursor by rows, within the queue.
func (q *View) Move(by int) {
	q.cursor = max(0, min(q.cursor+by, len(q.List)-1))
}

// StateWord is where an approval stands, for this member.
func StateWord(a backend.Approval, now time.Time) string {
	switch {
	case a.State == backend.ApprovalWaiting && !waits(a, now):
		return "expired"
	case a.State != backend.ApprovalWaiting && a.Mine:
		return "yours: " + knownState(a.State)
	case a.State != backend.ApprovalWaiting:
		return knownState(a.State)
	case a.Mine:
		return "yours: waiting"
	case a.CanDecide && a.Turn != "":
		return "later step"
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

// Draw shows the queue as it stands at a time.
func (q *View) Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time) {
	if len(q.List) == 0 {
		q.drawEmpty(c, area)
		return
	}
	height := max(1, area.Dy())
	q.top = max(0, min(q.top, len(q.List)-height))
	if q.cursor < q.top {
		q.top = q.cursor
	}
	if q.cursor >= q.top+height {
		q.top = q.cursor - height + 1
	}
	for y := 0; y < area.Dy() && q.top+y < len(q.List); y++ {
		q.drawRow(c, uv.Rect(area.Min.X, area.Min.Y+y, area.Dx(), 1), q.top+y, now)
	}
}

// narrow is the width, in cells, under which a row has no room for all of it.
const narrow = 60

func (q *View) drawRow(c *canvas.Canvas, area uv.Rectangle, i int, now time.Time) {
	a := q.List[i]
	x, y := area.Min.X, area.Min.Y
	marker := "  "
	if i == q.cursor {
		marker = "> "
	}
	x += c.Spans(x, y, 2, canvas.Lit(c.Styles.Bold, marker))
	left, stateCells := phrase.Left(now, a.AskUntil), 15
	if !waits(a, now) {
		left = ""
	}
	if area.Dx() < narrow {
		stateCells = 9
	}
	c.Spans(x, y, 7, canvas.Lit(c.Styles.Plain, left))
	x += 7
	style := c.Styles.Faint
	if awaits(a, now) {
		style = c.Styles.Hold
	}
	c.Spans(x, y, stateCells, canvas.Lit(style, StateWord(a, now)))
	x += stateCells + 1
	spans := []canvas.Span{}
	if others := a.Reading(now); others != "" {
		spans = append(spans, canvas.Span{Style: c.Styles.Warn, Text: phrase.Brief(others)}, canvas.Lit(c.Styles.Faint, "  "))
	}
	if a.Tier != "" && a.Tier != "default" {
		spans = append(spans, canvas.Lit(c.Styles.Warn, "["), canvas.Span{Style: c.Styles.Warn, Text: phrase.Brief(a.Tier)}, canvas.Lit(c.Styles.Warn, "] "))
	}
	who := canvas.Span{Style: c.Styles.Plain, Text: phrase.Brief(a.Operator)}
	target := canvas.Span{Style: c.Styles.Bold, Text: phrase.Brief(q.Together(a).Place())}
	what := canvas.Span{Style: c.Styles.Plain, Text: phrase.BriefRequest(a.Kind, a.Argv)}
	if area.Dx() < narrow { // what tells requests apart first
		spans = append(spans, target, canvas.Lit(c.Styles.Faint, ": "), what, canvas.Lit(c.Styles.Faint, ", by "), who)
	} else {
		spans = append(spans, who, canvas.Lit(c.Styles.Faint, " on "), target, canvas.Lit(c.Styles.Faint, ": "), what)
	}
	c.Spans(x, y, area.Max.X-x, spans...)
	if i == q.cursor {
		c.Restyle(area, uv.AttrReverse)
	}
}

func (q *View) drawEmpty(c *canvas.Canvas, area uv.Rectangle) {
	key := func(act keymap.Action) string { return q.Keys.Key(&keymap.ApprovalKeys, act) }
	var paras []canvas.Para
	switch {
	case !q.Able:
		paras = []canvas.Para{
			{Label: "", Text: sanitize.Literal("This backend has no approvals."), Style: c.Styles.Bold},
			{Label: "", Text: sanitize.Clean(key(keymap.ActAgents) + " goes to the targets."), Style: c.Styles.Plain},
		}
	case q.Err != nil:
		paras = []canvas.Para{
			{Label: "", Text: sanitize.Literal("The queue did not come."), Style: c.Styles.Warn},
			{Label: "", Text: phrase.Error(q.Err), Style: c.Styles.Plain},
			{Label: "", Text: sanitize.Clean(key(keymap.ActRefresh) + " tries again."), Style: c.Styles.Plain},
		}
	case !q.loaded:
		paras = []canvas.Para{{Label: "", Text: sanitize.Literal("Asking for the approvals ..."), Style: c.Styles.Faint}}
	default:
		paras = []canvas.Para{
			{Label: "", Text: sanitize.Literal("Nothing waits for approval."), Style: c.Styles.Bold},
			{Label: "", Text: sanitize.Clean("When something does, the tab above counts it and the bell rings. " + key(keymap.ActAgents) + " goes to the targets."), Style: c.Styles.Plain},
		}
	}
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.Rows(inside, canvas.Layout(paras, max(1, inside.Dx())), 0)
}

// PlanParas is all of what is decided at once: how much that is and where, then once what
// is the same on several machines.
func PlanParas(st *canvas.Styles, p together.Plan, now time.Time) []canvas.Para {
	if p.IsOne() {
		return Paras(st, p[0], now)
	}
	paras := []canvas.Para{{Label: "Plan", Text: sanitize.Clean(p.Size()), Style: st.Bold}}
	if why := p.Missing(); why != "" {
		paras = append(paras, canvas.Para{Label: " ", Text: sanitize.Clean(why), Style: st.Warn})
	}
	groups := p.Groups()
	for i, one := range groups {
		if len(groups) > 1 {
			paras = append(paras, canvas.Para{Label: "Part", Text: sanitize.Clean(fmt.Sprintf("%d of %d", i+1, len(groups))), Style: st.Bold})
		}
		paras = append(paras, Paras(st, one, now)...)
	}
	return paras
}

// Paras is all of an approval, the command first. Its last line is the
// end that an approver must have seen.
func Paras(st *canvas.Styles, a backend.Approval, now time.Time) []canvas.Para {
	text := func(label, s string) canvas.Para {
		if s == "" {
			return canvas.Para{Label: label, Text: sanitize.Literal("not said"), Style: st.Faint}
		}
		return canvas.Para{Label: label, Text: sanitize.Clean(s), Style: st.Plain}
	}
	paras := []canvas.Para{
		text("Operator", a.Operator),
		text("Target", a.Target),
	}
	if a.Runbook != "" {
		paras = append(paras, text("Runbook", a.Runbook))
	}
	paras = append(paras, phrase.Request(st.Bold, a.Kind, a.Argv))
	if len(a.Argv) > 0 {
		paras = append(paras, canvas.Para{Label: "Words", Text: sanitize.Clean(fmt.Sprintf("%d", len(a.Argv))), Style: st.Plain})
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
		paras = append(paras, canvas.Para{Label: label, Text: line, Style: st.Plain})
	}
	if a.Reason == "" {
		paras = append(paras, text("Reason", ""))
	}
	if a.Lasts > 0 {
		paras = append(paras, text("For", phrase.Duration(a.Lasts)+" at most, then it ends"))
	}
	paras = append(paras, text("Tier", a.Tier))
	if a.Risk != "" {
		paras = append(paras, canvas.Para{Label: "Risk", Text: sanitize.Clean("it " + a.Risk), Style: st.Warn})
	}
	paras = append(paras, text("Folder", a.Cwd))
	for _, e := range a.Env {
		paras = append(paras, text("Env", e))
	}
	if a.Stdin != "" {
		paras = append(paras, text("Stdin", a.Stdin))
	}
	for _, f := range a.Content {
		paras = append(paras, text("File", f.String()))
	}
	if why := a.NotCovered(); why != "" {
		paras = append(paras, canvas.Para{Label: "Content", Text: sanitize.Clean(why), Style: st.Warn})
	}
	if note := backend.Kind(a.Kind).Ungated(); note != "" {
		paras = append(paras, canvas.Para{Label: "Note", Text: sanitize.Clean(note), Style: st.Warn})
	}
	if !a.Asked.IsZero() {
		paras = append(paras, text("Asked", a.Asked.UTC().Format("15:04:05")+" UTC"))
	}
	left := "time is over"
	if waits(a, now) {
		left = phrase.Left(now, a.AskUntil)
	}
	paras = append(paras, text("Time left", left))
	if a.Quorum > 0 {
		paras = append(paras, text("Approved", a.Progress()))
	}
	if who := a.WhoCan(); who != "" && waits(a, now) {
		paras = append(paras, text("Can now", who))
	}
	if others := a.Reading(now); others != "" {
		paras = append(paras, canvas.Para{Label: "Others", Text: sanitize.Clean(others), Style: st.Warn})
	}
	paras = append(paras, canvas.Para{Label: "State", Text: sanitize.Literal(StateWord(a, now)), Style: st.Bold})
	if a.WhyNot != "" && !Decidable(a, now) {
		paras = append(paras, text("Why not", a.WhyNot))
	}
	if a.Turn != "" && Decidable(a, now) {
		paras = append(paras, text("Not yet", "you can say no; for a yes, "+a.Turn))
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
	for _, s := range slices.Concat(a.Argv, a.Env, []string{a.Target, a.Operator, a.Kind, a.As, a.Cwd, a.Tier, a.Risk, a.Reason, a.Stdin, a.Unread, a.Runbook, a.WhyNot}) {
		size += len(s) + 1
	}
	for _, f := range a.Content {
		size += len(f.String()) + 1
	}
	if size <= maxRequest {
		return
	}
	*a = backend.Approval{
		ID: a.ID, Target: phrase.Brief(a.Target).String(), Operator: phrase.Brief(a.Operator).String(), Kind: phrase.Brief(a.Kind).String(),
		State: a.State, Asked: a.Asked, AskUntil: a.AskUntil, Mine: a.Mine,
		WhyNot: "it is too long to be read, so it can't be decided here",
	}
}

// same says whether two views of an approval ask for the same.
func same(a, b backend.Approval) bool {
	return a.ID == b.ID && a.Target == b.Target && a.Operator == b.Operator && a.Kind == b.Kind &&
		a.As == b.As && a.Cwd == b.Cwd && a.Tier == b.Tier && a.Risk == b.Risk && a.Reason == b.Reason && a.Lasts == b.Lasts && a.Stdin == b.Stdin && a.Unread == b.Unread && a.Runbook == b.Runbook && a.Plan == b.Plan && a.PlanSize == b.PlanSize && slices.Equal(a.Content, b.Content) &&
		slices.Equal(a.Argv, b.Argv) && slices.Equal(a.Env, b.Env)
}

// Typed says whether approving a needs the target's name: everything but the
// lower tiers does, an unknown tier too.
func Typed(a backend.Approval) bool {
	switch a.Tier {
	case "", "default", "low", "medium":
		return false
	}
	return true
}
