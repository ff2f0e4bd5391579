//go:build unix

package local_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/local"
)

func TestConformance(t *testing.T) {
	t.Setenv("SHELL", "/bin/sh")
	const noPolicy = "this machine has no policy to evaluate and nobody to ask"
	backendtest.Run(t, backendtest.Harness{
		New:    func(*testing.T) backend.Backend { return local.New() },
		Target: local.TargetID,
		Cat:    []string{"cat"},
		Exit:   func(code int) []string { return []string{"sh", "-c", fmt.Sprintf("exit %d", code)} },
		Size:   []string{"sh", "-c", "while read line; do stty size; done"},
		Skip: map[string]string{
			"DeniedStaysDenied":      noPolicy,
			"HeldThenApprovedOpens":  noPolicy,
			"HeldThenDeniedNever":    noPolicy,
			"NobodyApprovesTheirOwn": noPolicy,
			"DecidedOnce":            noPolicy,
			"ZeroVerdictDenies":      noPolicy,
			"BatchAgrees":            noPolicy,
		},
	})
}

func TestPromisesNothing(t *testing.T) {
	b := local.New()
	defer b.Close()
	term, err := b.Open(t.Context(), backend.OpenRequest{Target: local.TargetID, Kind: backend.KindExec, Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if term.Assurance() != (backend.Assurance{}) {
		t.Errorf("Assurance = %+v", term.Assurance())
	}
	if _, ok := backend.As[backend.Evaluator](b); ok {
		t.Error("it claims to have a policy")
	}
	req := backend.OpenRequest{Target: local.TargetID, Kind: backend.KindExec, Argv: []string{"true"}, As: "root"}
	if _, err := b.Open(t.Context(), req); !errors.Is(err, backend.ErrDenied) {
		t.Errorf("Open as root: %v", err)
	}
	req = backend.OpenRequest{Target: local.TargetID, Kind: backend.KindExec, Argv: []string{"tucdesk-no-such-command"}}
	if _, err := b.Open(t.Context(), req); err == nil {
		t.Error("a command that does not exist started")
	}
}
