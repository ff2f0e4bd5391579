package up

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// restartFirst and restartMost bound the pause before a part that has
	// ended is started again. It is short: somebody watches a demo.
	restartFirst = 100 * time.Millisecond
	restartMost  = time.Second
	// stopTime is how long a part may take to stop before it is killed: a
	// little longer than the part's own limit.
	stopTime = 17 * time.Second
	// maxTail is how much of a failed start's log the error shows, in bytes.
	maxTail = 2048
)

// A child is a part as a process of its own: this program again, by its hidden
// command. As a [daemon.Service] it is ready when the process is. A process that
// ends is started again, ever more slowly while it does not hold.
//
// The process lives no longer than this one, however this one ends: it stops
// when its standard input does. It is in a process group of its own, so that a
// Ctrl-C reaches this process alone and the parts stop in their order.
type child struct {
	part    string // of Part
	config  string // file
	log     string // file that the part's log is added to
	logger  *slog.Logger
	started func(pid int)
}

// Run implements [daemon.Service].
func (c *child) Run(ctx context.Context, ready func()) error {
	var served bool
	up := sync.OnceFunc(func() { ready(); served = true })
	for wait := restartFirst; ; wait = min(2*wait, restartMost) {
		began := time.Now()
		err := c.once(ctx, up)
		switch {
		case ctx.Err() != nil:
			return nil
		case !served:
			return fmt.Errorf("up: %s did not start: %w%s", c.part, err, c.tail())
		case time.Since(began) > restartMost:
			wait = restartFirst
		}
		c.logger.Warn("a part has ended; starting it again", "part", c.part, "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// once runs one process to its end, and calls ready before that if it serves.
func (c *child) once(ctx context.Context, ready func()) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.log), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(exe, "part", c.part, "--config", c.config)
	cmd.Stderr, cmd.SysProcAttr = log, ownGroup()
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.started(cmd.Process.Pid)
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
			hold.Close()
		}
		select {
		case <-ended:
		case <-time.After(stopTime):
			cmd.Process.Kill()
		}
	}()
	lines := bufio.NewScanner(said) // long lines end it, which the copy survives
	if lines.Scan() && lines.Text() == readyLine {
		ready()
	}
	io.Copy(io.Discard, said)
	err = cmd.Wait()
	close(ended)
	<-stopped
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return err
}

// tail gives the end of the part's log.
func (c *child) tail() string {
	f, err := os.Open(c.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, end-maxTail), io.SeekStart)
	}
	b, _ := io.ReadAll(io.LimitReader(f, maxTail))
	return ": " + strings.TrimSpace(string(b))
}
