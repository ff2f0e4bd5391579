package execplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Capabilities, SPEC.md "Hello". A word that is not known means nothing.
const (
	canEvaluate = "evaluate"
	canApprove  = "approve"
	canAsk      = "ask"
	canWatch    = "watch"
	canSignal   = "signal"
	canEOF      = "eof"
)

// These are the bodies of frames. What a reader does not know, it skips.
type (
	helloBody struct { // of the console
		URL string `json:"url"`
		Dir string `json:"dir,omitempty"`
	}
	helloAnswer struct {
		Doc          string   `json:"doc,omitempty"`
		Capabilities []string `json:"capabilities"`
	}
	empty      struct{}
	targetBody struct {
		ID     string            `json:"id"`
		Name   string            `json:"name,omitempty"`
		Tags   map[string]string `json:"tags,omitempty"`
		State  string            `json:"state,omitempty"`
		Detail map[string]string `json:"detail,omitempty"`
	}
	pageBody struct {
		Targets   []targetBody   `json:"targets,omitempty"`
		Approvals []approvalBody `json:"approvals,omitempty"`
		More      bool           `json:"more,omitempty"`
	}
	requestBody struct {
		Target    string   `json:"target"`
		Kind      string   `json:"kind"`
		Argv      []string `json:"argv,omitempty"`
		As        string   `json:"as,omitempty"`
		TTY       bool     `json:"tty,omitempty"`
		Cols      uint16   `json:"cols,omitempty"`
		Rows      uint16   `json:"rows,omitempty"`
		Term      string   `json:"term,omitempty"`
		Reason    string   `json:"reason,omitempty"`
		Confirmed bool     `json:"confirmed,omitempty"`
		Approval  string   `json:"approval,omitempty"`
	}
	openedBody struct {
		Stderr    bool           `json:"stderr,omitempty"`
		Assurance *assuranceBody `json:"assurance,omitempty"`
	}
	assuranceBody struct {
		E2EE      bool   `json:"e2ee,omitempty"`
		Peer      string `json:"peer,omitempty"`
		Path      string `json:"path,omitempty"`
		RTT       int64  `json:"rtt_us,omitempty"`
		Gate      string `json:"gate,omitempty"`
		Recording string `json:"recording,omitempty"`
		Policy    bool   `json:"policy,omitempty"`
	}
	moreBody struct {
		In  int `json:"in,omitempty"`
		Out int `json:"out,omitempty"`
		Err int `json:"err,omitempty"`
	}
	sizeBody struct {
		Cols uint16 `json:"cols"`
		Rows uint16 `json:"rows"`
	}
	signalBody struct {
		Name string `json:"name"`
	}
	exitBody struct {
		Code   int    `json:"code"`
		Signal string `json:"signal,omitempty"`
		Reason string `json:"reason,omitempty"`
		Error  string `json:"error,omitempty"`
	}
	evaluateBody struct {
		Requests []requestBody `json:"requests"`
	}
	verdictBody struct {
		Effect    string `json:"effect"`
		Rule      string `json:"rule,omitempty"`
		Line      int    `json:"line,omitempty"`
		Reason    string `json:"reason,omitempty"`
		Approvers string `json:"approvers,omitempty"`
		Unknown   bool   `json:"unknown,omitempty"` // no such target
	}
	verdictsBody struct {
		Verdicts []verdictBody `json:"verdicts"`
	}
	approvalIDBody struct {
		Approval string `json:"approval"`
	}
	decideBody struct {
		Approval string `json:"approval"`
		Approve  bool   `json:"approve"`
		Reason   string `json:"reason,omitempty"`
	}
	approvalBody struct {
		ID        string    `json:"id"`
		Target    string    `json:"target"`
		Operator  string    `json:"operator"`
		Kind      string    `json:"kind"`
		Argv      []string  `json:"argv,omitempty"`
		Env       []string  `json:"env,omitempty"`
		Stdin     string    `json:"stdin,omitempty"`
		Cwd       string    `json:"cwd,omitempty"`
		As        string    `json:"as,omitempty"`
		Tier      string    `json:"tier,omitempty"`
		Risk      string    `json:"risk,omitempty"`
		Reason    string    `json:"reason,omitempty"`
		State     string    `json:"state"`
		Asked     time.Time `json:"asked"`
		AskUntil  time.Time `json:"ask_until"`
		Mine      bool      `json:"mine,omitempty"`
		CanDecide bool      `json:"can_decide,omitempty"`
		WhyNot    string    `json:"why_not,omitempty"`
		Approved  int       `json:"approved,omitempty"`
		Quorum    int       `json:"quorum,omitempty"`
		Turn      string    `json:"turn,omitempty"`
		Approvers []string  `json:"approvers,omitempty"`
	}
	changedBody struct {
		Targets   bool `json:"targets,omitempty"`
		Approvals bool `json:"approvals,omitempty"`
	}
	errorBody struct {
		Kind    string       `json:"kind"`
		Text    string       `json:"text"`
		Verdict *verdictBody `json:"verdict,omitempty"`
	}
)

// Limits of what a plugin says, SPEC.md "Limits". Bytes.
const (
	maxID      = 1024
	maxText    = 1024
	maxEntries = 64      // of a target's tags, and of its details
	maxRequest = 1 << 18 // of a request, as it is written
	maxItem    = 1 << 18 // of a target or an approval, as it is written
	fullPage   = 1 << 18 // from here on a page, or a batch of requests, takes no more
)

// parse reads a body.
func parse[B any](f frame) (b B, err error) {
	if err := json.Unmarshal(f.body, &b); err != nil {
		return b, fmt.Errorf("execplugin: the body of %q: %w", f.word, err)
	}
	return b, nil
}

// kinds are the errors that have a meaning, SPEC.md "Errors". What wraps several is the
// first.
var kinds = []struct {
	kind string
	err  error
}{
	{"not-found", backend.ErrNotFound},
	{"denied", backend.ErrDenied},
	{"held", backend.ErrHeld},
	{"confirm", backend.ErrConfirm},
	{"decided", backend.ErrDecided},
	{"expired", backend.ErrExpired},
	{"unavailable", backend.ErrUnavailable},
	{"closed", backend.ErrClosed},
	{"canceled", context.Canceled},
	{"canceled", context.DeadlineExceeded},
	{"unsupported", errors.ErrUnsupported},
}

func bodyOfError(err error) errorBody {
	b := errorBody{Kind: "failed", Text: brief(err.Error())}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			b.Kind = k.kind
			break
		}
	}
	if v, ok := backend.VerdictOf(err); ok {
		b.Verdict = bodyOfVerdict(v)
	}
	return b
}

// err is what the console's side returns. The text is a plugin's, so it is cleaned here
// where it becomes part of ours.
func (b errorBody) err() error {
	for _, k := range kinds {
		if k.kind != b.Kind {
			continue
		}
		if b.Verdict != nil {
			v := b.Verdict.verdict()
			switch k.err {
			case backend.ErrDenied:
				v.Effect = backend.Deny
			case backend.ErrHeld:
				v.Effect = backend.Hold
			case backend.ErrConfirm:
				v.Effect = backend.Confirm
			default:
				return fmt.Errorf("%w: the plugin says: %s", k.err, clean(b.Text))
			}
			return fmt.Errorf("execplugin: %w", v.Err())
		}
		return fmt.Errorf("%w: the plugin says: %s", k.err, clean(b.Text))
	}
	return fmt.Errorf("execplugin: the plugin says: %s", clean(b.Text))
}

// brief cuts a text at maxText bytes, between two runes.
func brief(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func clean(s string) sanitize.Text { return sanitize.Clean(brief(s)) }

func bodyOfVerdict(v backend.Verdict) *verdictBody {
	return &verdictBody{Effect: v.Effect.String(), Rule: v.Rule, Line: v.Line, Reason: v.Reason, Approvers: v.Approvers}
}

// verdict reads an effect that is not known as a denial.
func (b verdictBody) verdict() backend.Verdict {
	v := backend.Verdict{Rule: brief(b.Rule), Line: max(b.Line, 0), Reason: brief(b.Reason), Approvers: brief(b.Approvers)}
	for _, e := range []backend.Effect{backend.Hold, backend.Confirm, backend.Allow} {
		if b.Effect == e.String() && !b.Unknown {
			v.Effect = e
		}
	}
	if b.Unknown && v.Reason == "" {
		v.Reason = "no such target"
	}
	return v
}

func bodyOfTarget(t backend.Target) (targetBody, error) {
	id := string(t.ID)
	if id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return targetBody{}, fmt.Errorf("execplugin: a target's ID has %d bytes, or is not UTF-8; 1 to %d are allowed", len(id), maxID)
	}
	return targetBody{ID: id, Name: t.Name, Tags: t.Tags, State: t.State.String(), Detail: t.Detail}, nil
}

// target checks what a plugin lists. path is the plugin's, and shown.
func (b targetBody) target(path string) (backend.Target, error) {
	switch {
	case b.ID == "" || len(b.ID) > maxID:
		return backend.Target{}, fmt.Errorf("execplugin: a target has an id of %d bytes; 1 to %d are allowed", len(b.ID), maxID)
	case len(b.Tags) > maxEntries || len(b.Detail) > maxEntries:
		return backend.Target{}, fmt.Errorf("execplugin: target %s has more than %d tags or details", clean(b.ID), maxEntries)
	}
	t := backend.Target{ID: backend.TargetID(b.ID), Name: brief(b.Name), Tags: make(map[string]string, len(b.Tags)), Detail: make(map[string]string, len(b.Detail)+1)}
	if b.Name == "" {
		t.Name = b.ID
	}
	for k, v := range b.Tags {
		t.Tags[brief(k)] = brief(v)
	}
	for k, v := range b.Detail {
		t.Detail[brief(k)] = brief(v)
	}
	t.Detail["plugin"] = path
	switch b.State {
	case backend.Online.String():
		t.State = backend.Online
	case backend.Offline.String():
		t.State = backend.Offline
	}
	return t, nil
}

// bodyOfRequest refuses what version 1 has no words for.
func bodyOfRequest(r backend.OpenRequest) (requestBody, error) {
	if id := string(r.Target); id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return requestBody{}, fmt.Errorf("execplugin: %w: no target can have this ID: it is empty, longer than %d bytes or not UTF-8", backend.ErrNotFound, maxID)
	}
	if err := r.Extra(); err != nil {
		return requestBody{}, fmt.Errorf("execplugin: %w", err)
	}
	if r.Kind != backend.KindShell && r.Kind != backend.KindExec {
		return requestBody{}, fmt.Errorf("execplugin: a plugin opens shells and commands, and no %.20q: %w", string(r.Kind), errors.ErrUnsupported)
	}
	if (r.Kind == backend.KindShell) != (len(r.Argv) == 0) {
		return requestBody{}, fmt.Errorf("execplugin: a %s request can't have %d arguments", r.Kind, len(r.Argv))
	}
	for _, s := range append([]string{r.As, r.Term, r.Reason, string(r.Approval)}, r.Argv...) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return requestBody{}, errors.New("execplugin: a plugin takes words of UTF-8 without NUL, and one of the request's is none")
		}
	}
	b := requestBody{
		Target: string(r.Target), Kind: string(r.Kind), Argv: r.Argv, As: r.As, TTY: r.TTY || r.Kind == backend.KindShell,
		Cols: r.Cols, Rows: r.Rows, Term: r.Term, Reason: r.Reason, Confirmed: r.Confirmed, Approval: string(r.Approval),
	}
	if size(b) > maxRequest {
		return requestBody{}, fmt.Errorf("execplugin: the request is longer than the %d KiB that a plugin takes", maxRequest>>10)
	}
	return b, nil
}

// size is how many bytes a message takes.
func size(v any) int {
	b, _ := json.Marshal(v) // of structs of ours, which can be written
	return len(b)
}

func (b requestBody) request() backend.OpenRequest {
	return backend.OpenRequest{
		Target: backend.TargetID(b.Target), Kind: backend.Kind(b.Kind), Argv: b.Argv, As: b.As, TTY: b.TTY,
		Cols: b.Cols, Rows: b.Rows, Term: b.Term, Reason: b.Reason, Confirmed: b.Confirmed, Approval: backend.ApprovalID(b.Approval),
	}
}

func bodyOfAssurance(a backend.Assurance) *assuranceBody {
	if a == (backend.Assurance{}) {
		return nil
	}
	return &assuranceBody{a.E2EE, a.Peer, a.Path, a.RTT.Microseconds(), a.Gate, a.Recording, a.Policy}
}

func (b *assuranceBody) assurance() backend.Assurance {
	if b == nil {
		return backend.Assurance{}
	}
	rtt := max(0, min(b.RTT, time.Hour.Microseconds()))
	return backend.Assurance{
		E2EE: b.E2EE, Peer: brief(b.Peer), Path: brief(b.Path), RTT: time.Duration(rtt) * time.Microsecond,
		Gate: brief(b.Gate), Recording: brief(b.Recording), Policy: b.Policy,
	}
}

// bodyOfApproval lets nobody decide what version 1 can't show as a whole.
func bodyOfApproval(a backend.Approval) approvalBody {
	if len(a.Content) > 0 || a.Unread != "" || a.Plan != "" {
		a.CanDecide, a.WhyNot = false, "what it covers can't be shown through a plugin; decide it where the request came from"
	}
	return approvalBody{
		string(a.ID), a.Target, a.Operator, a.Kind, a.Argv, a.Env, a.Stdin, a.Cwd, a.As, a.Tier, a.Risk, a.Reason, string(a.State),
		a.Asked, a.AskUntil, a.Mine, a.CanDecide, a.WhyNot, a.Approved, a.Quorum, a.Turn, a.Approvers,
	}
}

// approval leaves texts whole: who approves must see all of them.
func (b approvalBody) approval() (backend.Approval, error) {
	if b.ID == "" || len(b.ID) > maxID {
		return backend.Approval{}, fmt.Errorf("execplugin: an approval has an id of %d bytes; 1 to %d are allowed", len(b.ID), maxID)
	}
	return backend.Approval{
		ID: backend.ApprovalID(b.ID), Target: b.Target, Operator: b.Operator, Kind: b.Kind, Argv: b.Argv, Env: b.Env, Stdin: b.Stdin,
		Cwd: b.Cwd, As: b.As, Tier: b.Tier, Risk: b.Risk, Reason: b.Reason, State: backend.ApprovalState(b.State), Asked: b.Asked,
		AskUntil: b.AskUntil, Mine: b.Mine, CanDecide: b.CanDecide, WhyNot: b.WhyNot, Approved: b.Approved, Quorum: b.Quorum,
		Turn: b.Turn, Approvers: b.Approvers,
	}, nil
}
