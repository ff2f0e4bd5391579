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
		New:    func(backendtest.T) backend.Backend { return local.New() },
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
			"WatchedByOthers":        "there is nobody else",
		},
	})
}

// TestCloseEndsStubbornPrograms covers a program that ignores SIGHUP, so that
// nothing but Close itself can end the Read.
func TestCloseEndsStubbornPrograms(t *testing.T) {
	b := local.New()
	defer b.Close()
	for _, tty := range []bool{true, false} {
		term, err := b.Open(t.Context(), backend.OpenRequest{
			Target: local.TargetID, Kind: backend.KindExec, TTY: tty, Cols: 80, Rows: 24,
			Argv: []string{"sh", "-c", "trap '' HUP; echo up; while :; do sleep 1; done"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := term.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		if err := term.Resize(90, 30); err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() {
			_, err := term.Read(make([]byte, 64))
			read <- err
		}()
		if err := term.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err == nil {
			t.Error("Read returned output")
		}
		if exit, err := term.Wait(); err != nil || exit.Signal != "KILL" {
			t.Errorf("Wait = %+v, %v", exit, err)
		}
	}
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
