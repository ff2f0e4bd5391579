package host

import (
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/runbook"
)

const greeting = `version: 1
name: greet
params:
  whom: {kind: one-of, values: [alice, bob]}
steps:
  - {name: hello, run: [echo, "hello {whom}"]}
  - {name: elsewhere, run: [echo, "hello {whom}"], targets: {tags: {env: prod}}}
`

// The name of a runbook's step is what approvers and auditors read, so a machine runs
// under it what the admins have signed and nothing else, whoever says so.
func TestForgedRunbookLabel(t *testing.T) {
	w := newWorld(t)
	w.state(roster.KindRunbookSet, roster.RunbookSet{Name: "greet", Version: 1, Hash: envelope.Sum([]byte(greeting)), Document: []byte(greeting)})
	w.start()
	whom := [][2]string{{"whom", "alice"}}
	one := runbook.Instance{Name: "greet", Version: 1, Step: 1, Args: whom}
	change := func(f func(*runbook.Instance)) *runbook.Instance {
		i := one
		f(&i)
		return &i
	}
	hello := []string{"echo", "hello alice"}
	if e := w.try(attempt{argv: hello, runbook: &one}); !e.answer.Allowed() || e.stdout != "hello alice\n" {
		t.Fatalf("the step itself: %+v\n%s", e, w.logs)
	}
	refused := 0
	for name, a := range map[string]attempt{
		"another command":       {argv: []string{"id"}, runbook: &one},
		"another value":         {argv: []string{"echo", "hello bob"}, runbook: &one},
		"one word more":         {argv: append(hello, "x"), runbook: &one},
		"another folder":        {argv: hello, cwd: "/", runbook: &one},
		"a value of nobody's":   {argv: []string{"echo", "hello mallory"}, runbook: change(func(i *runbook.Instance) { i.Args = [][2]string{{"whom", "mallory"}} })},
		"a version to come":     {argv: hello, runbook: change(func(i *runbook.Instance) { i.Version = 2 })},
		"a step that is not":    {argv: hello, runbook: change(func(i *runbook.Instance) { i.Step = 3 })},
		"a step of others":      {argv: hello, runbook: change(func(i *runbook.Instance) { i.Step = 2 })},
		"a runbook of nobody's": {argv: hello, runbook: change(func(i *runbook.Instance) { i.Name = "restart" })},
	} {
		e := w.try(a)
		if e.answer.Allowed() || e.stdout != "" {
			t.Errorf("%s: %+v", name, e)
		}
		refused++
		if !strings.Contains(e.answer.Reason, "runbook") {
			t.Errorf("%s: the reason: %q", name, e.answer.Reason)
		}
	}
	entries := 0
	for _, e := range w.evidence() {
		if e.Type == audit.Refusal {
			entries++
		}
	}
	if entries != refused {
		t.Errorf("%d refusals in the log, want %d", entries, refused)
	}
}
