//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// loopbackSSH is OpenSSH on this machine.
func (w *workshop) loopbackSSH() (*openSSH, error) {
	return w.openSSH(place{}, place{}, "127.0.0.1")
}

func (w *workshop) countSSH() (float64, error) {
	ssh, err := w.ssh()
	if err != nil {
		return 0, err
	}
	return counted(ssh.command(w.ctx, "cat", "/dev/zero"))
}

func bulkClean(path string) func(*workshop) (figures, error) {
	return func(w *workshop) (figures, error) {
		d, err := w.demo()
		if err != nil {
			return figures{}, err
		}
		theirs, err := w.sshClean()
		if err != nil {
			return figures{}, err
		}
		ours, err := counted(d.tucdesk(w.ctx, "exec", "--path", path, "-n", target, "--", "cat", "/dev/zero"))
		return figures{ours: ours / million, peer: theirs / million}, err
	}
}

// besideBulk types at a shell while another command's output flows.
func (w *workshop) besideBulk(shell, bulk *exec.Cmd) (float64, error) {
	t, err := echoing(ofOurs, shell)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	if err := bulk.Start(); err != nil { // its output goes nowhere
		return 0, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- bulk.Wait()
		cancel()
	}()
	defer func() {
		bulk.Process.Kill()
		<-ended
	}()
	times, err := typed(ctx, t, keys)
	if ctx.Err() != nil {
		err = fmt.Errorf("%s ended early: %w", strings.Join(bulk.Args, " "), errors.Join(err, w.ctx.Err()))
	}
	return percentile(times, 99), err
}

func echoBesideBulk(w *workshop) (figures, error) {
	d, err := w.demo()
	if err != nil {
		return figures{}, err
	}
	ssh, err := w.ssh()
	if err != nil {
		return figures{}, err
	}
	theirs, err := w.besideBulk(ssh.command(w.ctx), ssh.command(w.ctx, "cat", "/dev/zero"))
	if err != nil {
		return figures{}, err
	}
	ours, err := w.besideBulk(d.tucdesk(w.ctx, "connect", target), d.tucdesk(w.ctx, "exec", "-n", target, "--", "cat", "/dev/zero"))
	return figures{ours: ours, peer: theirs}, err
}

// agentRSS is of the lab's agent, the program that machines have, before anybody uses it.
func agentRSS(w *workshop) (figures, error) {
	s, err := w.lab()
	if err != nil {
		return figures{}, err
	}
	all := 0.0
	for _, pid := range family(s.AgentPid()) {
		bytes, err := memory(pid)
		if err != nil {
			return figures{}, err
		}
		all += bytes
	}
	return figures{ours: all / million, note: "both halves, each page that they share counted once"}, nil
}
