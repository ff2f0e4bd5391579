package protocol

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
	CanEvaluate = "evaluate"
	CanApprove  = "approve"
	CanAsk      = "ask"
	CanWatch    = "watch"
	CanSignal   = "signal"
	CanEOF      = "eof"
)

// These are the bodies of frames, SPEC.md "Requests" and "Terminals". What a reader does not know, it skips.
type (
	Hello struct { // of the console
		URL string `json:"url"`
		Dir string `json:"dir,omitempty"`
	}
	HelloAnswer struct {
		Doc          string   `json:"doc,omitempty"`
		Capabilities []string `json:"capabilities"`
	}
	Empty  struct{}
	Target struct {
		ID     string            `json:"id"`
		Name   string            `json:"name,omitempty"`
		Tags   map[string]string `json:"tags,omitempty"`
		State  string            `json:"state,omitempty"`
		Detail map[string]string `json:"detail,omitempty"`
	}
	Page struct {
		Targets   []Target   `json:"targets,omitempty"`
		Approvals []Approval `json:"approvals,omitempty"`
		More      bool       `json:"more,omitempty"`
	}
	Request struct {
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
	Opened struct {
		Stderr    bool       `json:"stderr,omitempty"`
		Assurance *Assurance `json:"assurance,omitempty"`
	}
	Assurance struct {
		E2EE      bool   `json:"e2ee,omitempty"`
		Peer      string `json:"peer,omitempty"`
		Path      string `json:"path,omitempty"`
		RTT       int64  `json:"rtt_us,omitempty"`
		Gate      string `json:"gate,omitempty"`
		Recording string `json:"recording,omitempty"`
		Policy    bool   `json:"policy,omitempty"`
	}
	More struct {
		In  int `json:"in,omitempty"`
		Out int `json:"out,omitempty"`
		Err int `json:"err,omitempty"`
	}
	Size struct {
		Cols uint16 `json:"cols"`
		Rows uint16 `json:"rows"`
	}
	Signal struct {
		Name string `json:"name"`
	}
	Exit struct {
		Code   int    `json:"code"`
		Signal string `json:"signal,omitempty"`
		Reason string `json:"reason,omitempty"`
		Error  string `json:"error,omitempty"`
	}
	Evaluate struct {
		Requests []Request `json:"requests"`
	}
	Verdict struct {
		Effect    string `json:"effect"`
		Rule      string `json:"rule,omitempty"`
		Line      int    `json:"line,omitempty"`
		Reason    string `json:"reason,omitempty"`
		Approvers string `json:"approvers,omitempty"`
		Unknown   bool   `json:"unknown,omitempty"` // no such target
	}
	Verdicts struct {
		Verdicts []Verdict `json:"verdicts"`
	}
	ApprovalID struct {
		Approval string `json:"approval"`
	}
	Decide struct {
		Approval string `json:"approval"`
		Approve  bool   `json:"approve"`
		Reason   string `json:"reason,omitempty"`
	}
	Approval struct {
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
	Changed struct {
		Targets   bool `json:"targets,omitempty"`
		Approvals bool `json:"approvals,omitempty"`
	}
	Error struct {
		Kind    string   `json:"kind"`
		Text    string   `json:"text"`
		Verdict *Verdict `json:"verdict,omitempty"`
	}
)

// Limits of what a plugin says, SPEC.md "Limits". Bytes.
const (
	MaxID      = 1024
	MaxText    = 1024
	maxEntries = 64      // of a target's tags, and of its details
	maxRequest = 1 << 18 // of a request, as it is written
	MaxItem    = 1 << 18 // of a target or an approval, as it is written
	FullPage   = 1 << 18 // from here on a page, or a batch of requests, takes no more
)

// Parse reads a body.
func Parse[B any](f Frame) (b B, err error) {
	if err := json.Unmarshal(f.Body, &b); err != nil {
		return b, fmt.Errorf("execplugin: the body of %q: %w", f.Word, err)
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

// OfError says an error of a backend.
func OfError(err error) Error {
	b := Error{Kind: "failed", Text: Brief(err.Error())}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			b.Kind = k.kind
			break
		}
	}
	if v, ok := backend.VerdictOf(err); ok {
		b.Verdict = OfVerdict(v)
	}
	return b
}

// Err is what the console's side returns. The text is a plugin's, so it is cleaned here
// where it becomes part of ours.
func (b Error) Err() error {
	for _, k := range kinds {
		if k.kind != b.Kind {
			continue
		}
		if b.Verdict != nil {
			v := b.Verdict.Verdict()
			switch k.err {
			case backend.ErrDenied:
				v.Effect = backend.Deny
			case backend.ErrHeld:
				v.Effect = backend.Hold
			case backend.ErrConfirm:
				v.Effect = backend.Confirm
			default:
				return fmt.Errorf("%w: the plugin says: %s", k.err, Clean(b.Text))
			}
			return fmt.Errorf("execplugin: %w", v.Err())
		}
		return fmt.Errorf("%w: the plugin says: %s", k.err, Clean(b.Text))
	}
	return fmt.Errorf("execplugin: the plugin says: %s", Clean(b.Text))
}

// Brief cuts a text at MaxText bytes, between two runes.
func Brief(s string) string {
	if len(s) <= MaxText {
		return s
	}
	cut := MaxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Clean is a text of the other side, cut and cleaned.
func Clean(s string) sanitize.Text { return sanitize.Clean(Brief(s)) }

// OfVerdict says a verdict.
func OfVerdict(v backend.Verdict) *Verdict {
	return &Verdict{Effect: v.Effect.String(), Rule: v.Rule, Line: v.Line, Reason: v.Reason, Approvers: v.Approvers}
}

// Verdict reads an effect that is not known as a denial.
func (b Verdict) Verdict() backend.Verdict {
	v := backend.Verdict{Rule: Brief(b.Rule), Line: max(b.Line, 0), Reason: Brief(b.Reason), Approvers: Brief(b.Approvers)}
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

// OfTarget says a target.
func OfTarget(t backend.Target) (Target, error) {
	id := string(t.ID)
	if id == "" || len(id) > MaxID || !utf8.ValidString(id) {
		return Target{}, fmt.Errorf("execplugin: a target's ID has %d bytes, or is not UTF-8; 1 to %d are allowed", len(id), MaxID)
	}
	return Target{ID: id, Name: t.Name, Tags: t.Tags, State: t.State.String(), Detail: t.Detail}, nil
}

// Target checks what a plugin lists. path is the plugin's, and shown.
func (b Target) Target(path string) (backend.Target, error) {
	switch {
	case b.ID == "" || len(b.ID) > MaxID:
		return backend.Target{}, fmt.Errorf("execplugin: a target has an id of %d bytes; 1 to %d are allowed", len(b.ID), MaxID)
	case len(b.Tags) > maxEntries || len(b.Detail) > maxEntries:
		return backend.Target{}, fmt.Errorf("execplugin: target %s has more than %d tags or details", Clean(b.ID), maxEntries)
	}
	t := backend.Target{ID: backend.TargetID(b.ID), Name: Brief(b.Name), Tags: make(map[string]string, len(b.Tags)), Detail: make(map[string]string, len(b.Detail)+1)}
	if b.Name == "" {
		t.Name = b.ID
	}
	for k, v := range b.Tags {
		t.Tags[Brief(k)] = Brief(v)
	}
	for k, v := range b.Detail {
		t.Detail[Brief(k)] = Brief(v)
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

// OfRequest refuses what version 1 has no words for.
func OfRequest(r backend.OpenRequest) (Request, error) {
	if id := string(r.Target); id == "" || len(id) > MaxID || !utf8.ValidString(id) {
		return Request{}, fmt.Errorf("execplugin: %w: no target can have this ID: it is empty, longer than %d bytes or not UTF-8", backend.ErrNotFound, MaxID)
	}
	if err := r.Extra(); err != nil {
		return Request{}, fmt.Errorf("execplugin: %w", err)
	}
	if r.Kind != backend.KindShell && r.Kind != backend.KindExec {
		return Request{}, fmt.Errorf("execplugin: a plugin opens shells and commands, and no %.20q: %w", string(r.Kind), errors.ErrUnsupported)
	}
	if (r.Kind == backend.KindShell) != (len(r.Argv) == 0) {
		return Request{}, fmt.Errorf("execplugin: a %s request can't have %d arguments", r.Kind, len(r.Argv))
	}
	for _, s := range append([]string{r.As, r.Term, r.Reason, string(r.Approval)}, r.Argv...) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return Request{}, errors.New("execplugin: a plugin takes words of UTF-8 without NUL, and one of the request's is none")
		}
	}
	b := Request{
		Target: string(r.Target), Kind: string(r.Kind), Argv: r.Argv, As: r.As, TTY: r.TTY || r.Kind == backend.KindShell,
		Cols: r.Cols, Rows: r.Rows, Term: r.Term, Reason: r.Reason, Confirmed: r.Confirmed, Approval: string(r.Approval),
	}
	if Length(b) > maxRequest {
		return Request{}, fmt.Errorf("execplugin: the request is longer than the %d KiB that a plugin takes", maxRequest>>10)
	}
	return b, nil
}

// Length is how many bytes a message takes.
func Length(v any) int {
	b, _ := json.Marshal(v) // of structs of ours, which can be written
	return len(b)
}

// OpenRequest is what is asked for.
func (b Request) OpenRequest() backend.OpenRequest {
	return backend.OpenRequest{
		Target: backend.TargetID(b.Target), Kind: backend.Kind(b.Kind), Argv: b.Argv, As: b.As, TTY: b.TTY,
		Cols: b.Cols, Rows: b.Rows, Term: b.Term, Reason: b.Reason, Confirmed: b.Confirmed, Approval: backend.ApprovalID(b.Approval),
	}
}

// OfAssurance says what is known to protect a terminal; nil: nothing is.
func OfAssurance(a backend.Assurance) *Assurance {
	if a == (backend.Assurance{}) {
		return nil
	}
	return &Assurance{a.E2EE, a.Peer, a.Path, a.RTT.Microseconds(), a.Gate, a.Recording, a.Policy}
}

// Assurance is what is said; nil says nothing.
func (b *Assurance) Assurance() backend.Assurance {
	if b == nil {
		return backend.Assurance{}
	}
	rtt := max(0, min(b.RTT, time.Hour.Microseconds()))
	return backend.Assurance{
		E2EE: b.E2EE, Peer: Brief(b.Peer), Path: Brief(b.Path), RTT: time.Duration(rtt) * time.Microsecond,
		Gate: Brief(b.Gate), Recording: Brief(b.Recording), Policy: b.Policy,
	}
}

// OfApproval lets nobody decide what version 1 can't show as a whole.
func OfApproval(a backend.Approval) Approval {
	if len(a.Content) > 0 || a.Unread != "" || a.Plan != "" {
		a.CanDecide, a.WhyNot = false, "what it covers can't be shown through a plugin; decide it where the request came from"
	}
	return Approval{
		string(a.ID), a.Target, a.Operator, a.Kind, a.Argv, a.Env, a.Stdin, a.Cwd, a.As, a.Tier, a.Risk, a.Reason, string(a.State),
		a.Asked, a.AskUntil, a.Mine, a.CanDecide, a.WhyNot, a.Approved, a.Quorum, a.Turn, a.Approvers,
	}
}

// Approval leaves texts whole: who approves must see all of them.
func (b Approval) Approval() (backend.Approval, error) {
	if b.ID == "" || len(b.ID) > MaxID {
		return backend.Approval{}, fmt.Errorf("execplugin: an approval has an id of %d bytes; 1 to %d are allowed", len(b.ID), MaxID)
	}
	return backend.Approval{
		ID: backend.ApprovalID(b.ID), Target: b.Target, Operator: b.Operator, Kind: b.Kind, Argv: b.Argv, Env: b.Env, Stdin: b.Stdin,
		Cwd: b.Cwd, As: b.As, Tier: b.Tier, Risk: b.Risk, Reason: b.Reason, State: backend.ApprovalState(b.State), Asked: b.Asked,
		AskUntil: b.AskUntil, Mine: b.Mine, CanDecide: b.CanDecide, WhyNot: b.WhyNot, Approved: b.Approved, Quorum: b.Quorum,
		Turn: b.Turn, Approvers: b.Approvers,
	}, nil
}
